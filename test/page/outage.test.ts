import { equal, ok } from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Browser } from "playwright-core";
import { Cable, type Outage } from "../support/cable.ts";
import { startService, type RunningService } from "../support/service.ts";
import { browserMissing, ChatPage, launchBrowser } from "./browser.ts";

const settings = { systemPrompt: "", temperature: 0, max_tokens: 160 };
const question = "Tell me about llamas.";
const outageMs = 20_000;

describe(
  "the chat page when the network is gone for 20 s in the middle of an answer",
  { skip: browserMissing, timeout: 600_000 },
  () => {
    let service: RunningService;
    let browser: Browser;
    let undisturbed: string;

    before(async () => {
      [service, browser] = await Promise.all([startService(["llama"]), launchBrowser()]);
      await using chat = await ChatPage.open(browser, service.url, settings);
      await chat.ask(question);
      await chat.answer();
      undisturbed = await shown(chat);
    });
    after(async () => {
      await browser.close();
      await service[Symbol.asyncDispose]();
    });

    async function showsAll(outage: Outage): Promise<void> {
      await using cable = await Cable.to(service.url);
      await using chat = await ChatPage.open(browser, cable.url, settings);
      cable.isSlow = true;
      await chat.ask(question);
      await chat.streaming();
      cable.fail(outage);
      const before = await shown(chat);
      ok(before.length > 0 && before.length < undisturbed.length, "it went in the middle");
      await delay(outageMs);
      ok(await chat.isAnswering(), "the page has not given up");
      cable.isSlow = false;
      cable.mend();
      equal((await chat.answer()).outcome, "length");
      equal(await shown(chat), undisturbed);
      await chat.connected();
    }

    // Together, so that the time passes only once.
    it("shows the whole answer in the end, whether connections are reset or fall silent", async () => {
      await Promise.all([showsAll("reset"), showsAll("silence")]);
    });
  },
);

async function shown({ page }: ChatPage): Promise<string> {
  return (await page.locator(".answer .markdown").textContent()) ?? "";
}
