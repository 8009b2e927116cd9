import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { pino } from "pino";
import request from "supertest";
import { StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";
import { upgrade } from "../support/upgrade.ts";

/** What has happened to others whose servers let foreign pages in. */
describe("incidents of others: requests that come from elsewhere", { timeout: 120_000 }, () => {
  let service: RunningService;
  const chat = "/v1/chat/completions";
  const body = { messages: [{ role: "user", content: "Hi" }], max_tokens: 1 };

  before(async () => {
    service = await startService(["llama"]);
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  test("a foreign Host on any listener (CVE-2024-28224, CVE-2025-66414): refused, whatever the address", async () => {
    const port = new URL(service.url).port;
    for (const host of [
      "evil.example",
      `evil.example:${port}`,
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "10.0.0.1",
      "0.0.0.0",
      "[::2]",
    ]) {
      for (const path of ["/", "/metrics", "/v1/models", "/api/models", "/health/live", "/openapi.json", "/client/index.js"]) {
        const response = await request(service.url).get(path).set("Host", host);
        assert.ok(response.status === 421 || response.status === 400, `${host} ${path}: ${response.status}`);
      }
      for (const path of ["/v1/stream", "/v1/responses"]) {
        const { status } = await upgrade(service.url, path, { "Sec-WebSocket-Protocol": "llamapod.v1", Host: host });
        assert.ok(status === 421 || status === 400, `${host} ${path}`);
      }
    }
  });

  test("a foreign Host on the metrics port: refused as well", async () => {
    const found: string[] = [];
    const log = pino(
      { level: "info" },
      {
        write: (line: string) => {
          const { metrics_url: url } = JSON.parse(line) as { metrics_url?: string };
          if (url !== undefined) found.push(url);
        },
      },
    );
    await using apart = await startService(["gpt2"], { metricsPort: 0 }, log);
    const url = new URL(found[0] ?? assert.fail("it says where"));
    assert.notEqual(url.port, new URL(apart.url).port);
    assert.equal((await request(url.origin).get("/metrics")).status, 200);
    for (const host of ["evil.example", `evil.example:${url.port}`, "10.0.0.1"]) {
      assert.equal((await request(url.origin).get("/metrics").set("Host", host)).status, 421, host);
    }
  });

  test("a WebSocket or a request across origins (CVE-2025-24010): refused, also from this machine and from nowhere", async () => {
    for (const origin of [
      "https://evil.example",
      "null",
      "http://localhost:1",
      "http://127.0.0.1",
      "file://",
      "app://x",
      "vscode-webview://x",
      `${service.url}.evil.example`,
    ]) {
      for (const path of ["/v1/stream", "/v1/responses"]) {
        const { status } = await upgrade(service.url, path, { "Sec-WebSocket-Protocol": "llamapod.v1", Origin: origin });
        assert.equal(status, 403, `${origin} ${path}`);
      }
      const response = await request(service.url).post(chat).set("Origin", origin).send(body);
      assert.equal(response.status, 403, origin);
      assert.equal(response.headers["access-control-allow-origin"], undefined);
    }
  });

  test("a form of another page, which no browser asks about first: refused as no JSON", async () => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) {
      const response = await request(service.url).post(chat).set("Content-Type", type).send(JSON.stringify(body));
      assert.equal(response.status, 415, type);
    }
  });

  test("a header of many entries (CVE-2024-37890): refused before it is an upgrade", async () => {
    const many = Object.fromEntries(Array.from({ length: 3_000 }, (_, index) => [`x-${index}`, "x"]));
    const outcome = await upgrade(service.url, "/v1/stream", { "Sec-WebSocket-Protocol": "llamapod.v1", ...many }).catch(() => ({
      status: 431,
    }));
    assert.notEqual(outcome.status, 101);
    using client = await StreamClient.connect(service.url);
    await client.take("hello");
  });
});
