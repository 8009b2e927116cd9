import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { browserMissing, launchBrowser } from "../page/browser.ts";
import { sample, scrape } from "../support/metrics.ts";
import { keysFile, startService, type RunningService } from "../support/service.ts";

const rebound = "rebound.example";

describe("a page of another origin, in Chromium", { skip: browserMissing, timeout: 300_000 }, () => {
  let service: RunningService;
  let evil: Server;
  let browser: Browser;
  let page: Page;

  before(async () => {
    evil = createServer((_request, response) => {
      response.setHeader("Content-Type", "text/html");
      response.end("<!doctype html><title>evil</title>");
    }).listen(0, "127.0.0.1");
    await once(evil, "listening");
    [service, browser] = await Promise.all([
      startService(["llama"]),
      launchBrowser([`--host-resolver-rules=MAP ${rebound} 127.0.0.1`]),
    ]);
    page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${(evil.address() as AddressInfo).port}/`);
  });
  after(async () => {
    await browser.close();
    evil.close();
    await service[Symbol.asyncDispose]();
  });

  for (const path of ["/v1/stream", "/v1/responses"]) {
    test(`cannot open the WebSocket ${path}`, async () => {
      const outcome = await page.evaluate(
        `new Promise((resolve) => {
          const socket = new WebSocket(${JSON.stringify(service.url.replace("http", "ws") + path)}, "llamapod.v1");
          socket.onopen = () => resolve("open");
          socket.onerror = () => resolve("refused");
        })`,
      );
      assert.equal(outcome, "refused");
    });
  }

  test("cannot read the API, and what it sends blindly does nothing", async () => {
    const attempts = [
      `fetch("${service.url}/v1/models")`,
      `fetch("${service.url}/api/models")`,
      `fetch("${service.url}/metrics")`,
      `fetch("${service.url}/v1/chat/completions", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" })`,
      `fetch("${service.url}/v1/models", { headers: { Authorization: "Bearer x" } })`,
    ];
    for (const attempt of attempts) {
      const outcome = await page.evaluate(`${attempt}.then((response) => response.text(), () => "refused")`);
      assert.equal(outcome, "refused", attempt);
    }
    const body = JSON.stringify({ messages: [{ role: "user", content: "Hi" }], max_tokens: 1 });
    await page.evaluate(
      `fetch("${service.url}/v1/chat/completions", { method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" }, body: ${JSON.stringify(body)} })`,
    );
    await page.evaluate(`navigator.sendBeacon("${service.url}/v1/chat/completions", ${JSON.stringify(body)})`);
    const done = { model: "llama", endpoint: "chat", transport: "http", outcome: "ok" };
    assert.equal(sample(await scrape(service.url), "llamapod_requests_total", done), 0);
  });

  test("cannot show the chat page in a frame, or run a file of it as a script", async () => {
    const framed = await page.evaluate(
      `new Promise((resolve) => {
        const frame = document.createElement("iframe");
        frame.src = ${JSON.stringify(service.url)};
        frame.onload = () => { try { resolve(frame.contentDocument?.title ?? "opaque") } catch { resolve("opaque") } };
        document.body.append(frame);
      })`,
    );
    assert.equal(framed, "opaque");
    const shown = await Promise.all(page.frames().map((frame) => frame.title().catch(() => "")));
    assert.ok(!shown.includes("llamapod"), shown.join());
    const script = await page.evaluate(
      `new Promise((resolve) => {
        const script = document.createElement("script");
        script.src = ${JSON.stringify(`${service.url}/openapi.json`)};
        script.onload = () => resolve("ran");
        script.onerror = () => resolve("refused");
        document.body.append(script);
      })`,
    );
    assert.equal(script, "refused");
  });

  test("under a name of its own that leads to this server gets nothing (DNS rebinding)", async () => {
    const own = await browser.newPage();
    const response = await own.goto(`http://${rebound}:${new URL(service.url).port}/`);
    assert.equal(response?.status(), 421);
    const outcome = await own.evaluate(`fetch("/v1/models").then((response) => response.status)`);
    assert.equal(outcome, 421);
    await own.close();
  });
});

test(
  "a page of an origin that is allowed reads the API with its key, and opens the WebSocket by a ticket",
  { skip: browserMissing, timeout: 300_000 },
  async () => {
    const frontend = createServer((_request, response) => {
      response.setHeader("Content-Type", "text/html");
      response.end("<!doctype html><title>frontend</title>");
    }).listen(0, "127.0.0.1");
    await once(frontend, "listening");
    const origin = `http://127.0.0.1:${(frontend.address() as AddressInfo).port}`;
    const keys = await keysFile({ alice: "chat" });
    await using service = await startService(["llama"], { apiKeysFile: keys.file, allowedOrigins: origin });
    const browser = await launchBrowser();
    const page = await browser.newPage();
    await page.goto(origin);
    const seen = await page.evaluate(`(async () => {
    const headers = { Authorization: "Bearer ${keys.secrets["alice"] ?? ""}" };
    const models = await (await fetch("${service.url}/v1/models", { headers })).json();
    const refused = (await fetch("${service.url}/v1/models")).status;
    const { protocol } = await (await fetch("${service.url}/v1/stream/tickets", { method: "POST", headers })).json();
    const socket = new WebSocket("${service.url.replace("http", "ws")}/v1/stream", ["llamapod.v1", protocol]);
    const { data } = await new Promise((resolve, reject) => {
      socket.onmessage = resolve;
      socket.onerror = () => reject(new Error("the WebSocket was refused"));
    });
    return [models.data[0].id, refused, JSON.parse(data).type];
  })()`);
    assert.deepEqual(seen, ["llama", 401, "hello"]);
    await browser.close();
    frontend.close();
  },
);
