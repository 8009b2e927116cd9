import { deepEqual, ok } from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, describe, it } from "node:test";
import type { AxeResults } from "axe-core";
import type { Browser } from "playwright-core";
import { startService, type RunningService } from "../support/service.ts";
import { browserMissing, ChatPage, launchBrowser } from "./browser.ts";

describe("the chat page for everybody", { skip: browserMissing, timeout: 600_000 }, () => {
  let service: RunningService;
  let browser: Browser;
  let axe: string;

  before(async () => {
    [service, browser] = await Promise.all([startService(["llama"]), launchBrowser()]);
    axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  });
  after(async () => {
    await browser.close();
    await service[Symbol.asyncDispose]();
  });

  /** What keeps somebody from using the page as it is now, by the rules of WCAG 2.2 AA that a program can check. */
  async function obstacles(chat: ChatPage): Promise<string[]> {
    await chat.page.evaluate(axe);
    const { violations } = await chat.page.evaluate<AxeResults>("axe.run()");
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}: ${failureSummary}`));
  }

  for (const colorScheme of ["light", "dark"] as const) {
    it(`has no obstacle when empty, in a conversation and in the settings, ${colorScheme}`, async () => {
      await using chat = await ChatPage.open(browser, service.url, { max_tokens: 20 }, { colorScheme, bypassCSP: true });
      deepEqual(await obstacles(chat), []);
      await chat.ask("Tell me about llamas.");
      await chat.answer();
      deepEqual(await obstacles(chat), []);
      await chat.page.getByRole("button", { name: "Settings" }).click();
      deepEqual(await obstacles(chat), []);
    });
  }

  it("is light or dark as the system is", async () => {
    const brightness = async (colorScheme: "light" | "dark") => {
      await using chat = await ChatPage.open(browser, service.url, {}, { colorScheme });
      const [text, paper] = await chat.page.evaluate<[string, string]>(
        "[getComputedStyle(document.body).color, getComputedStyle(document.documentElement).backgroundColor]",
      );
      return { text: sumOf(text), paper: sumOf(paper) };
    };
    const [light, dark] = [await brightness("light"), await brightness("dark")];
    ok(light.text < light.paper && dark.text > dark.paper, JSON.stringify({ light, dark }));
  });
});

/** Of red, green and blue, as `rgb(1, 2, 3)` has them. */
function sumOf(colour: string): number {
  const channels =
    colour
      .match(/[\d.]+/g)
      ?.slice(0, 3)
      .map(Number) ?? [];
  return channels.reduce((sum, channel) => sum + channel, 0);
}
