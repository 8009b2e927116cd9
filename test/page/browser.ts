import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { assertFrame } from "../support/contract.ts";

const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

/** A busy machine answers slowly; only a page that hangs takes longer than this. */
const patienceMs = 120_000;

/** Why the tests in a browser cannot run here, if so. */
export const browserMissing = existsSync(executablePath)
  ? false
  : `there is no Chromium at ${executablePath}; CHROMIUM names another`;

export function launchBrowser(args: readonly string[] = []): Promise<Browser> {
  const quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-quic", ...quiet, ...args] });
}

/** The chat page of a server, in a browser context (that is: a user) of its own or a given one. */
export class ChatPage implements AsyncDisposable {
  readonly page: Page;
  /** What the page should never do: log errors, throw, ask anyone but its server. */
  readonly faults: string[] = [];
  /** What it said or was told on its WebSocket, and what the published protocol has no word for. */
  readonly #unpublished: string[] = [];

  private constructor(page: Page, origin: string) {
    this.page = page;
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") this.faults.push(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => this.faults.push(`thrown: ${error.message}`));
    page.on("request", (asked) => {
      const url = new URL(asked.url());
      if (url.origin !== origin && url.protocol !== "data:") this.faults.push(`request: ${asked.url()}`);
    });
    page.on("websocket", (socket) => {
      if (new URL(socket.url()).host !== new URL(origin).host) this.faults.push(`websocket: ${socket.url()}`);
      const check = ({ payload }: { payload: string | Buffer }) => {
        try {
          assertFrame(JSON.parse(String(payload)));
        } catch (thrown) {
          this.#unpublished.push(String(thrown));
        }
      };
      socket.on("framesent", check);
      socket.on("framereceived", check);
    });
  }

  static async open(
    browser: Browser,
    url: string,
    settings: object = {},
    options: BrowserContextOptions = {},
  ): Promise<ChatPage> {
    const context = await browser.newContext(options);
    await context.addInitScript({
      content: `localStorage.setItem("llamapod.settings", ${JSON.stringify(JSON.stringify(settings))})`,
    });
    context.setDefaultTimeout(patienceMs);
    const chat = new ChatPage(await context.newPage(), new URL(url).origin);
    await chat.page.goto(url);
    await chat.connected();
    return chat;
  }

  connected(): Promise<void> {
    return this.page.locator("#connection[data-state=open]").waitFor();
  }

  async ask(question: string): Promise<void> {
    await this.page.fill("#question", question);
    await this.page.press("#question", "Enter");
  }

  /** Until the running answer has some text on the page. */
  async streaming(): Promise<void> {
    await this.page.locator(".answer[aria-busy=true] .markdown :not(:empty)").first().waitFor({ state: "attached" });
  }

  /** The last answer, when it has ended. */
  async answer(): Promise<{ text: string; outcome: string }> {
    await this.page.locator("#turns > :last-child.answer[aria-busy=false]").waitFor();
    return this.page.evaluate('JSON.parse(sessionStorage.getItem("llamapod.turns")).at(-1)');
  }

  isAnswering(): Promise<boolean> {
    return this.page.locator(".answer[aria-busy=true]").isVisible();
  }

  /** By how many pixels the page is wider than its window. */
  overflow(): Promise<number> {
    return this.page.evaluate("document.documentElement.scrollWidth - innerWidth");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.context().close();
    assert.deepEqual(this.#unpublished, []);
  }
}
