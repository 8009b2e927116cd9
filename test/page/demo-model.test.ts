import { equal, match, ok } from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Browser } from "playwright-core";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { modelsFolder, serveFolder } from "../support/service.ts";
import { browserMissing, ChatPage, launchBrowser } from "./browser.ts";

describe("the chat page with the built-in demo models", { skip: browserMissing, timeout: 600_000 }, () => {
  let browser: Browser;

  before(async () => {
    browser = await launchBrowser();
  });
  after(() => browser.close());

  it("chats at once, and says that this is the demo and how to get a real model", async () => {
    await using service = await serveFolder(await modelsFolder({}), { demoModels: true });
    await using chat = await ChatPage.open(browser, service.url);
    equal(await chat.page.locator("#model").inputValue(), "llamapod-demo");
    const notice = chat.page.locator("#demo-notice");
    ok(await notice.isVisible());
    match((await notice.textContent()) ?? "", /demo model.*llamapod pull qwen2\.5-0\.5b/s);
    await chat.ask("What is llamapod?");
    match((await chat.answer()).text, /server for language models/);
    equal(chat.faults.length, 0);
  });

  it("says nothing of the kind with a model of one's own, until the demo is chosen", async () => {
    const folder = await modelsFolder({ mine: await tinyModel("gpt2") });
    await using service = await serveFolder(folder, { demoModels: true });
    await using chat = await ChatPage.open(browser, service.url);
    equal(await chat.page.locator("#model").inputValue(), "mine");
    const notice = chat.page.locator("#demo-notice");
    equal(await notice.isVisible(), false);
    await chat.page.selectOption("#model", "llamapod-demo-sv");
    await notice.waitFor({ state: "visible" });
  });
});
