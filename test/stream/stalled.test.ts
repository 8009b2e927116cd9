import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { sample, scrape } from "../support/metrics.ts";
import { until } from "../support/processes.ts";
import { frame, RawSocket } from "../support/raw-socket.ts";
import { startService, type RunningService } from "../support/service.ts";
import { greedy, StreamClient } from "../support/stream-client.ts";

const text = 1;
const maxBufferedBytes = 512 * 1024;

describe("a client that has stopped reading", { timeout: 120_000 }, () => {
  let service: RunningService;

  before(async () => {
    service = await startService(["llama"], { maxBufferedBytes, stallSeconds: 2, maxMessagesPerSecond: 1_000_000 });
    using client = await StreamClient.connect(service.url);
    await client.generate(greedy("long", 1_000));
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  const closes = async () => sample(await scrape(service.url), "llamapod_ws_closes_total", { code: "1013" });
  const buffered = async () => sample(await scrape(service.url), "llamapod_ws_buffered_bytes_max");

  async function stalled(path = "/v1/stream"): Promise<RawSocket> {
    const raw = await RawSocket.open(service.url, path);
    await raw.frame();
    raw.socket.pause();
    return raw;
  }

  test("and asks for more and more: 1013, and no more was kept for it than the limit", async () => {
    const before = await closes();
    using raw = await stalled();
    // Each is answered with a few hundred bytes that no cursor holds back.
    const message = frame({ opcode: text, payload: JSON.stringify({ type: "resume", id: "x".repeat(64), after: 0 }) });
    const burst = Buffer.concat(Array.from({ length: 2_000 }, () => message));
    let most = 0;
    await until(async () => {
      raw.write(burst);
      most = Math.max(most, await buffered());
      return (await closes()) > before;
    });
    assert.ok(most <= maxBufferedBytes + 1_024, `${most} bytes waited`);
  });

  test("and waits: 1013 when nothing has been read for long enough", async () => {
    const before = await closes();
    using raw = await stalled();
    const message = frame({ opcode: text, payload: JSON.stringify({ type: "resume", id: "long", after: 0 }) });
    const burst = Buffer.concat(Array.from({ length: 200 }, () => message));
    let most = 0;
    await until(async () => {
      if (most === 0) raw.write(burst);
      most = Math.max(most, await buffered());
      return (await closes()) > before;
    });
    assert.ok(most > 0 && most <= maxBufferedBytes, `${most} bytes waited`);
  });

  test("and had asked for server-sent events: the connection is cut", async () => {
    const asked = await fetch(`${service.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Llamapod-Detach": "grace=30" },
      body: JSON.stringify({ messages: [{ role: "user", content: "Hi" }], max_tokens: 1_000, stream: true }),
    });
    const [, id = ""] = /^id: (.+):/m.exec(await asked.text()) ?? [];
    await isCut(`/v1/generations/${id}/events`);
  });

  test("and had asked for a document: the connection is cut", async () => {
    await isCut("/openapi.json");
  });

  /** Asks for it again and again. */
  async function isCut(path: string): Promise<void> {
    const socket = connect(Number(new URL(service.url).port), "127.0.0.1");
    socket.pause();
    const ended = once(socket, "error");
    const one = `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
    const watching = setInterval(() => {
      // What it writes tells it that nobody is there any more.
      if (socket.writableLength < 1_000_000) socket.write(one.repeat(1_000));
    }, 20);
    const [error] = (await ended) as [NodeJS.ErrnoException];
    clearInterval(watching);
    assert.match(error.code ?? "", /^(ECONNRESET|EPIPE)$/);
  }
});
