import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { WebSocket } from "ws";
import { greedy, StreamClient, streamUrl } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";
import { upgrade } from "../support/upgrade.ts";

describe("what the WebSocket endpoint refuses", () => {
  let service: RunningService;

  before(async () => {
    service = await startService(["llama"], { allowedOrigins: "https://friend.example" });
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  test("no subprotocol, or another one: 426 before the upgrade, naming what is served", async () => {
    for (const offered of [undefined, "llamapod.v9", "graphql-transport-ws, chat"]) {
      const { status, body, headers } = await upgrade(service.url, "/v1/stream", { "Sec-WebSocket-Protocol": offered });
      assert.equal(status, 426);
      assert.equal(body.error.code, "unsupported_version");
      assert.match(body.error.message, /llamapod\.v1/);
      assert.equal(headers.upgrade, "websocket");
    }
  });

  test("the connection of an upgrade that is refused is gone, whatever its client does", { timeout: 10_000 }, async () => {
    const socket = connect({ port: Number(new URL(service.url).port), host: "127.0.0.1", allowHalfOpen: true });
    socket.write("GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    await once(socket, "end");
    assert.match(Buffer.concat(chunks).toString(), /^HTTP\/1\.1 426 .*unsupported_version/s);
    const failed = once(socket, "error");
    const writes = setInterval(() => socket.write("still here"), 20);
    await failed;
    clearInterval(writes);
  });

  test("one good subprotocol among others is enough, and the one chosen", async () => {
    const socket = new WebSocket(streamUrl(service.url), ["chat", "llamapod.v1"]);
    await once(socket, "open");
    assert.equal(socket.protocol, "llamapod.v1");
    socket.terminate();
  });

  test("an unknown path: 404", async () => {
    const { status, body } = await upgrade(service.url, "/v1/streams", { "Sec-WebSocket-Protocol": "llamapod.v1" });
    assert.equal(status, 404);
    assert.match(body.error.message, /\/v1\/stream\b/);
  });

  test("a page of another origin: 403; of this one or an allowed one: welcome", async () => {
    const statusFor = async (origin: string) =>
      (await upgrade(service.url, "/v1/stream", { "Sec-WebSocket-Protocol": "llamapod.v1", Origin: origin })).status;
    assert.equal(await statusFor("https://evil.example"), 403);
    assert.equal(await statusFor("null"), 403);
    assert.equal(await statusFor("http://localhost:1"), 403, "another port is another origin");
    assert.equal(await statusFor(service.url), 101);
    assert.equal(await statusFor("https://friend.example"), 101);
  });

  test("a page without TLS, of a server that a proxy serves with TLS: 403", async () => {
    const statusFor = async (origin: string) =>
      (
        await upgrade(service.url, "/v1/stream", {
          "Sec-WebSocket-Protocol": "llamapod.v1",
          "X-Forwarded-Proto": "https",
          Origin: origin,
        })
      ).status;
    assert.equal(await statusFor(service.url), 403);
    assert.equal(await statusFor(service.url.replace("http:", "https:")), 101);
  });

  test("a foreign host name: 421", async () => {
    const { status, body } = await upgrade(service.url, "/v1/stream", {
      "Sec-WebSocket-Protocol": "llamapod.v1",
      Host: "rebound.example",
    });
    assert.equal(status, 421);
    assert.equal(body.error.code, "host_not_allowed");
  });

  test("a binary frame: 1003", async () => {
    using client = await StreamClient.connect(service.url);
    client.socket.send(Buffer.from('{"type":"ping"}'), { binary: true });
    assert.equal(await client.closed, 1003);
  });

  test("text that is not UTF-8: 1007", async () => {
    using client = await StreamClient.connect(service.url);
    client.socket.send(Buffer.from([0xc3, 0x28]), { binary: false });
    assert.equal(await client.closed, 1007);
  });

  test("a message in too many fragments: 1008", async () => {
    using client = await StreamClient.connect(service.url);
    for (let count = 0; count < 1_000; count++) client.socket.send(" ", { fin: false });
    assert.equal(await client.closed, 1008);
  });

  test("a frame that is not masked: 1002", async () => {
    const { port } = new URL(service.url);
    const socket = connect(Number(port), "127.0.0.1");
    socket.write(
      `GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${"A".repeat(22)}==\r\nSec-WebSocket-Protocol: llamapod.v1\r\n\r\n`,
    );
    await once(socket, "data");
    socket.write(Buffer.from([0x81, 0x02, 0x7b, 0x7d]));
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    // The last frame is a close frame: opcode 8, and its code.
    const close = Buffer.concat(chunks).indexOf(Buffer.from([0x03, 0xea]));
    assert.notEqual(close, -1, "closed with 1002");
  });

  test("a frame of 10 MB: 1009, while another connection's answer goes on undisturbed", async () => {
    using reader = await StreamClient.connect(service.url);
    const undisturbed = await reader.generate(greedy("undisturbed", 300));
    using attacker = await StreamClient.connect(service.url);
    reader.send({ type: "generate", ...greedy("disturbed", 300) });
    const [started] = await Promise.all([reader.take("started", "disturbed")]);
    attacker.socket.send("x".repeat(10 * 1024 * 1024));
    assert.equal(await attacker.closed, 1009);
    const done = await reader.take("done", "disturbed");
    assert.equal(started.first, 1);
    assert.equal(done.text_sha256, undisturbed.done.text_sha256);
  });
});
