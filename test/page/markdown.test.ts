import { deepEqual, equal, ok } from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Browser } from "playwright-core";
import { startService, type RunningService } from "../support/service.ts";
import { browserMissing, ChatPage, launchBrowser } from "./browser.ts";

/** Runs the page's own modules in the page itself, under its content security policy. */
describe("markdown in answers", { skip: browserMissing, timeout: 120_000 }, () => {
  let service: RunningService;
  let browser: Browser;
  let chat: ChatPage;

  before(async () => {
    [service, browser] = await Promise.all([startService(["llama"]), launchBrowser()]);
    chat = await ChatPage.open(browser, service.url);
  });

  after(async () => {
    await browser.close();
    await service[Symbol.asyncDispose]();
  });

  const render = (source: string): Promise<string> =>
    chat.page.evaluate(`import("/markdown.js").then(({ renderMarkdown }) => {
      const holder = document.createElement("div");
      document.body.append(holder);
      holder.append(renderMarkdown(${JSON.stringify(source)}));
      const html = holder.innerHTML.trim();
      return new Promise((resolve) => setTimeout(() => (holder.remove(), resolve(html)), 50));
    })`);

  /** The HTML of a text that grew character by character, and of the same text at once. */
  const grown = (source: string, step: number): Promise<[string, string]> =>
    chat.page.evaluate(`import("/growing-markdown.js").then(({ GrowingMarkdown }) => {
      const source = ${JSON.stringify(source)};
      const [slow, fast] = [new GrowingMarkdown(), new GrowingMarkdown()];
      for (let end = 1; end <= source.length; end += ${step}) slow.grow(source.slice(0, end));
      slow.finish(source);
      fast.finish(source);
      return [slow.element.innerHTML, fast.element.innerHTML];
    })`);

  const attacks = [
    "<img src=x onerror=\"document.title='hit'\">",
    "<script>document.title='hit'</script>",
    "text <img src=x onerror=\"document.title='hit'\"> text",
    "<svg onload=\"document.title='hit'\"><script>document.title='hit'</script></svg>",
    "[click](javascript:document.title='hit')",
    "[click](data:text/html,<script>alert(1)</script>)",
    '![x](x"onerror="document.title=`hit`)',
    "![x](https://elsewhere.example/pixel.png)",
    "<iframe srcdoc=\"<script>parent.document.title='hit'</script>\"></iframe>",
    "<form action=https://elsewhere.example><input name=q></form>",
    "<style>body{display:none}</style>",
    "<a href=\"javascript:document.title='hit'\">x</a>",
    "<b onclick=\"document.title='hit'\" id=model>x</b>",
    "<math><mtext><table><mglyph><style><img src=x onerror=\"document.title='hit'\">",
    "```html\"><img src=x onerror=\"document.title='hit'\">\n<script>document.title='hit'</script>\n```",
    "| a |\n|--|\n| <img src=x onerror=\"document.title='hit'\"> |",
    "<base href=https://elsewhere.example/><link rel=stylesheet href=https://elsewhere.example/x.css>",
  ];

  for (const attack of attacks) {
    it(`does nothing for ${attack.replaceAll("\n", "⏎").slice(0, 60)}`, async () => {
      const html = await render(attack);
      const forbidden = `import("/markdown.js").then(({ renderMarkdown }) => {
        const holder = document.createElement("div");
        holder.append(renderMarkdown(${JSON.stringify(attack)}));
        const scripted = [...holder.querySelectorAll("*")].flatMap(({ attributes }) => [...attributes])
          .filter(({ name, value }) => /^on|^id$|^style$|^src/.test(name) || /^\\s*(javascript|data):/i.test(value));
        return holder.querySelectorAll("img, script, iframe, form, input, style, link, base, math, object, embed").length + scripted.length;
      })`;
      equal(await chat.page.evaluate(forbidden), 0, html);
      equal(await chat.page.title(), "llamapod");
      deepEqual(chat.faults, []);
    });
  }

  it("shows HTML as the text that it is", async () => {
    equal(await render("Use <div class='x'> here"), "<p>Use &lt;div class='x'&gt; here</p>");
  });

  it("lets formatting tags pass", async () => {
    equal(await render("H<sub>2</sub>O<br>x"), "<p>H<sub>2</sub>O<br>x</p>");
  });

  it("opens links elsewhere, without a way back", async () => {
    equal(
      await render("[a](https://example.org/)"),
      '<p><a href="https://example.org/" rel="noopener noreferrer" target="_blank">a</a></p>',
    );
  });

  it("gives code a button that copies it", async () => {
    await chat.page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    const copied = await chat.page.evaluate(`import("/markdown.js").then(async ({ renderMarkdown }) => {
      document.querySelector("#turns").append(renderMarkdown("\`\`\`ts\\nconst a = 1 < 2;\\n\`\`\`"));
      document.querySelector("#turns button").click();
      await new Promise((resolve) => setTimeout(resolve, 100));
      document.querySelector("#turns").replaceChildren();
      return navigator.clipboard.readText();
    })`);
    equal(copied, "const a = 1 < 2;");
  });

  const document = [
    "# Title\n\nA *paragraph* with `code`\nand a second line, see [later][ref].\n\n",
    "1. one\n\n2. two\n   - inner\n   - inner\n\n   ```js\n   f();\n   ```\n\n3. three\n\n",
    "```python\nprint('```')\n\nprint(2)\n```\n\n> quote\n> goes on\n\nSetext\n======\n\n",
    "| a | b |\n|:--|--:|\n| 1 | 2 |\n\n- [x] task\n- [ ] task\n\n---\n\n    indented\n\n<div>\nhtml\n</div>\n\n[ref]: https://example.org/\n\nend\r\nwith\r\nreturns",
  ].join("");

  for (const step of [1, 3, 7]) {
    it(`looks the same when it came ${step} at a time`, async () => {
      const [slow, fast] = await grown(document, step);
      equal(slow, fast);
    });
  }

  it("costs a small part of a frame to draw more of an answer of 140,000 characters", async () => {
    const updateMs = await chat.page.evaluate<number>(`import("/growing-markdown.js").then(({ GrowingMarkdown }) => {
      const markdown = new GrowingMarkdown();
      const paragraph = "Some *words* of a paragraph that is as long as paragraphs are, with \`code\` in it.\\n\\n";
      let text = "";
      for (let count = 0; count < 1_700; count++) markdown.grow(text += paragraph);
      const before = performance.now();
      for (let at = 0; at < paragraph.length; at++) markdown.grow(text += paragraph[at]);
      return (performance.now() - before) / paragraph.length;
    })`);
    ok(updateMs < 4, `${updateMs.toFixed(2)} ms`);
  });
});
