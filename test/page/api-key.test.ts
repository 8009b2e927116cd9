import { deepEqual, equal, ok } from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Browser } from "playwright-core";
import { keysFile, startService, type RunningService, type TestKeys } from "../support/service.ts";
import { browserMissing, launchBrowser } from "./browser.ts";

describe("the chat page of a server with keys", { skip: browserMissing, timeout: 300_000 }, () => {
  let service: RunningService;
  let keys: TestKeys;
  let browser: Browser;

  before(async () => {
    keys = await keysFile({ alice: "chat" });
    [service, browser] = await Promise.all([startService(["llama"], { apiKeysFile: keys.file }), launchBrowser()]);
  });
  after(async () => {
    await browser.close();
    await service[Symbol.asyncDispose]();
  });

  it("asks for the key, takes no wrong one, and keeps the right one in the tab only", async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    const addresses: string[] = [];
    page.on("request", (asked) => addresses.push(asked.url()));
    page.on("websocket", (socket) => addresses.push(socket.url()));
    await page.goto(service.url);
    const field = page.getByLabel("API key");
    await field.fill("wrong");
    await field.press("Enter");
    await page.locator("#connection[data-state=refused]").waitFor();
    await field.waitFor();
    await field.fill(keys.secrets["alice"] ?? "");
    await field.press("Enter");
    await page.locator("#connection[data-state=open]").waitFor();
    ok(await field.isHidden());
    equal(await page.evaluate("JSON.stringify(localStorage).includes('lp_')"), false);
    await page.reload();
    await page.locator("#connection[data-state=open]").waitFor();
    await page.fill("#question", "Hello");
    await page.press("#question", "Enter");
    await page.locator("#turns > :last-child.answer[aria-busy=false]").waitFor();
    deepEqual(
      addresses.filter((address) => address.includes("lp_") || address.includes("ticket.")),
      [],
    );
    await context.close();
  });
});
