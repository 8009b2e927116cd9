import { equal, match } from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Browser } from "playwright-core";
import { startService, type RunningService } from "../support/service.ts";
import { browserMissing, ChatPage, launchBrowser } from "./browser.ts";

describe("the chat page's choice of a model", { skip: browserMissing, timeout: 600_000 }, () => {
  let service: RunningService;
  let browser: Browser;

  before(async () => {
    [service, browser] = await Promise.all([startService(["llama", "gpt2"]), launchBrowser()]);
  });
  after(async () => {
    await browser.close();
    await service[Symbol.asyncDispose]();
  });

  const settings = { systemPrompt: "", temperature: 0, max_tokens: 3 };

  async function whoAnswers(chat: ChatPage): Promise<string> {
    await chat.ask("Who are you?");
    await chat.answer();
    return (await chat.page.locator(".statistics").last().textContent()) ?? "";
  }

  it("is who answers, and a reload does not change it", async () => {
    await using chat = await ChatPage.open(browser, service.url, settings);
    await chat.page.selectOption("#model", "gpt2");
    match(await whoAnswers(chat), /^gpt2 /);
    await chat.page.reload();
    await chat.connected();
    equal(await chat.page.locator("#model").inputValue(), "gpt2");
    match(await whoAnswers(chat), /^gpt2 /);
  });

  it("falls on the active one where the chosen one is gone", async () => {
    await using chat = await ChatPage.open(browser, service.url, settings);
    await chat.page.evaluate('sessionStorage.setItem("llamapod.model", JSON.stringify("gone"))');
    await chat.page.reload();
    await chat.connected();
    equal(await chat.page.locator("#model").inputValue(), "llama");
    match(await whoAnswers(chat), /^llama /);
  });
});
