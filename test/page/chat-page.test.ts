import { deepEqual, equal, match, notEqual, ok } from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Browser } from "playwright-core";
import { Cable } from "../support/cable.ts";
import { startService, type RunningService } from "../support/service.ts";
import { browserMissing, ChatPage, launchBrowser } from "./browser.ts";

/** Long enough that something can happen in the middle of it, and the same every time. */
const settings = { systemPrompt: "", temperature: 0, max_tokens: 160 };
const question = "Tell me about llamas.";

describe("the chat page in Chromium", { skip: browserMissing, timeout: 600_000 }, () => {
  let service: RunningService;
  let browser: Browser;
  /** What the model answers when nothing happens on the way. */
  let undisturbed: string;

  before(async () => {
    [service, browser] = await Promise.all([startService(["llama"]), launchBrowser()]);
    await using chat = await ChatPage.open(browser, service.url, settings);
    await chat.ask(question);
    undisturbed = (await chat.answer()).text;
  });

  after(async () => {
    await browser.close();
    await service[Symbol.asyncDispose]();
  });

  it("loads without an error and asks nobody but its server", async () => {
    await using chat = await ChatPage.open(browser, service.url);
    equal(await chat.page.locator("#model").inputValue(), "llama");
    equal(await chat.page.locator("#model-state").textContent(), "ready");
    equal(await chat.page.evaluate("document.activeElement.id"), "question");
    deepEqual(chat.faults, []);
  });

  it("shows an answer while it is being written, and then how fast it was", async () => {
    await using cable = await Cable.to(service.url);
    await using chat = await ChatPage.open(browser, cable.url, settings);
    cable.isSlow = true;
    await chat.ask(question);
    await chat.streaming();
    ok(await chat.page.locator("#stop").isVisible());
    cable.isSlow = false;
    const { text, outcome } = await chat.answer();
    equal(text, undisturbed);
    equal(outcome, "length");
    const statistics = ((await chat.page.locator(".statistics").textContent()) ?? "").replaceAll("\u00a0", " ");
    match(statistics, /^llama · length limit reached · 160 tokens · [\d.]+ tokens\/s · first token/);
    deepEqual(chat.faults, []);
  });

  it("stops in the middle with Escape, and asks again on demand", async () => {
    await using chat = await ChatPage.open(browser, service.url, { ...settings, max_tokens: 1_900 });
    await chat.ask(question);
    await chat.page.locator(".answer .markdown :not(:empty)").first().waitFor();
    await chat.page.keyboard.press("Escape");
    const { text, outcome } = await chat.answer();
    equal(outcome, "stopped");
    ok(text.startsWith(undisturbed) || undisturbed.startsWith(text));
    await chat.page.getByRole("button", { name: "Regenerate" }).click();
    await chat.page.locator(".answer .markdown :not(:empty)").first().waitFor();
    await chat.page.getByRole("button", { name: "Stop the answer" }).click();
    equal((await chat.answer()).outcome, "stopped");
    equal(await chat.page.locator(".answer").count(), 1);
    equal(await chat.page.evaluate("document.activeElement.id"), "question");
  });

  it("completes an answer that a reload interrupted", async () => {
    await using cable = await Cable.to(service.url);
    await using chat = await ChatPage.open(browser, cable.url, settings);
    cable.isSlow = true;
    await chat.ask(question);
    await chat.streaming();
    await chat.page.evaluate(`addEventListener("pagehide", () => {
      const { text } = JSON.parse(sessionStorage.getItem("llamapod.running"));
      localStorage.setItem("atReload", String(text.length));
    })`);
    await chat.page.reload({ waitUntil: "commit" });
    cable.isSlow = false;
    equal((await chat.answer()).text, undisturbed);
    const atReload = await chat.page.evaluate<number>('Number(localStorage.getItem("atReload"))');
    ok(atReload > 0 && atReload < undisturbed.length, "the reload came in the middle");
    equal(await chat.page.locator(".question").textContent(), `You${question}`);
    deepEqual(chat.faults, []);
  });

  it("shows at once after a reload what it had of an answer, however long the rest takes", async () => {
    await using cable = await Cable.to(service.url);
    await using chat = await ChatPage.open(browser, cable.url, settings);
    cable.isSlow = true;
    await chat.ask(question);
    await chat.streaming();
    await chat.page.routeWebSocket(/v1\/stream/, () => undefined);
    await chat.page.reload({ waitUntil: "commit" });
    await chat.streaming();
  });

  it("completes an answer whose connection was cut again and again", async () => {
    await using cable = await Cable.to(service.url);
    await using chat = await ChatPage.open(browser, cable.url, settings);
    cable.isSlow = true;
    await chat.ask(question);
    await chat.streaming();
    ok(await chat.isAnswering(), "the first cut comes in the middle");
    for (let cuts = 0; cuts < 4; cuts++) {
      cable.cut();
      // Sometimes before the next connection stands, sometimes while it brings what was missed.
      await chat.page.waitForTimeout(100 + 200 * cuts);
    }
    cable.isSlow = false;
    equal((await chat.answer()).text, undisturbed);
  });

  it("completes an answer across a time without a network", async () => {
    await using cable = await Cable.to(service.url);
    await using chat = await ChatPage.open(browser, cable.url, settings);
    cable.isSlow = true;
    await chat.ask(question);
    await chat.streaming();
    await chat.page.context().setOffline(true);
    cable.cut();
    await chat.page.locator("#connection[data-state=broken]").waitFor();
    ok(await chat.isAnswering(), "the network went in the middle");
    cable.isSlow = false;
    await chat.page.context().setOffline(false);
    equal((await chat.answer()).text, undisturbed);
    await chat.connected();
  });

  it("says so when the rest of an answer is gone, and offers another", async () => {
    await using chat = await ChatPage.open(browser, service.url, settings);
    await chat.page.evaluate(`
      const request = { type: "generate", id: "forgotten", messages: [{ role: "user", content: "hi" }] };
      const answer = { role: "assistant", id: "forgotten", text: "", outcome: "running" };
      const running = { id: "forgotten", request, last: 3, text: "Once", tokens: 2, phase: { kind: "streaming" } };
      addEventListener("pagehide", () => {
        sessionStorage.setItem("llamapod.turns", JSON.stringify([{ role: "user", text: "hi" }, answer]));
        sessionStorage.setItem("llamapod.running", JSON.stringify(running));
      });
    `);
    await chat.page.reload();
    await chat.page.locator(".failure").waitFor();
    match((await chat.page.locator(".failure").textContent()) ?? "", /no longer has it/);
    match((await chat.page.locator(".answer .markdown").textContent()) ?? "", /^Once/);
    await chat.page.getByRole("button", { name: "Regenerate" }).click();
    notEqual((await chat.answer()).text, "");
  });

  it("keeps two tabs of one user apart", async () => {
    await using first = await ChatPage.open(browser, service.url, settings);
    const page = await first.page.context().newPage();
    await page.goto(service.url);
    await first.ask(question);
    await page.fill("#question", "And alpacas?");
    await page.press("#question", "Enter");
    await page.locator(".answer[aria-busy=false]").waitFor();
    await first.answer();
    deepEqual(await first.page.locator(".question p").allTextContents(), [question]);
    deepEqual(await page.locator(".question p").allTextContents(), ["And alpacas?"]);
  });

  it("starts a new chat, and a reload does not bring the old one back", async () => {
    await using chat = await ChatPage.open(browser, service.url, { ...settings, max_tokens: 3 });
    await chat.ask(question);
    await chat.answer();
    await chat.page.getByRole("button", { name: "New chat" }).click();
    equal(await chat.page.locator(".question").count(), 0);
    equal(await chat.page.evaluate("document.activeElement.id"), "question");
    await chat.page.reload();
    await chat.connected();
    equal(await chat.page.locator(".question").count(), 0);
    ok(await chat.page.locator("#welcome").isVisible());
  });

  it("shows the server's message when it refuses", async () => {
    await using chat = await ChatPage.open(browser, service.url, settings);
    await chat.ask("word ".repeat(4_000));
    const { outcome } = await chat.answer();
    equal(outcome, "failed");
    match((await chat.page.locator(".failure").textContent()) ?? "", /2048/);
    equal(await chat.page.getByRole("button", { name: "Retry" }).count(), 0);
  });

  it("keeps settings that are valid, and says which are not", async () => {
    await using chat = await ChatPage.open(browser, service.url);
    await chat.page.getByRole("button", { name: "Settings" }).click();
    await chat.page.getByLabel("Temperature").fill("9");
    equal(await chat.page.getByLabel("Temperature").getAttribute("aria-invalid"), "true");
    await chat.page.getByLabel("Seed").fill("7");
    deepEqual(await chat.page.evaluate('JSON.parse(localStorage.getItem("llamapod.settings"))'), { systemPrompt: "", seed: 7 });
    await chat.page.keyboard.press("Escape");
    ok(await chat.page.locator("#settings").isHidden());
    equal(await chat.page.evaluate("document.activeElement.id"), "open-settings");
  });

  for (const colorScheme of ["light", "dark"] as const) {
    it(`fits a window 360 pixels wide, ${colorScheme}`, async () => {
      await using chat = await ChatPage.open(browser, service.url, settings, {
        viewport: { width: 360, height: 740 },
        colorScheme,
      });
      equal(await chat.overflow(), 0);
      await chat.ask(`${"w".repeat(200)} ${question}`);
      await chat.answer();
      equal(await chat.overflow(), 0);
      await chat.page.getByRole("button", { name: "Settings" }).click();
      equal(await chat.overflow(), 0);
      await screenshot(chat, `phone-${colorScheme}`);
    });
  }
});

/** For people: where LLAMAPOD_SCREENSHOTS names a folder. */
async function screenshot(chat: ChatPage, name: string): Promise<void> {
  const folder = process.env["LLAMAPOD_SCREENSHOTS"];
  if (folder !== undefined) await chat.page.screenshot({ path: `${folder}/${name}.png` });
}
