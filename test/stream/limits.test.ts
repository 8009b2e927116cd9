import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import request from "supertest";
import { loadConfig, settings } from "../../src/config.ts";
import { beyond, snakeCase } from "../../src/protocol/limits.ts";
import { Answer, greedy, StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";
import { upgrade } from "../support/upgrade.ts";

const limits = {
  maxMessagesPerSecond: 5,
  maxConnections: 4,
  maxConnectionsPerClient: 3,
  maxGenerationsPerClient: 2,
  maxMessages: 2_000,
  maxTokens: 1_000,
  maxStopStrings: 2,
  maxGraceSeconds: 9,
  maxLogBytes: 4_096,
  heartbeatSeconds: 1,
  idleSeconds: 1,
  headerSeconds: 1,
  bodySeconds: 1,
};

const oneLetterMessages = Array.from({ length: 33_000 }, () => ({ role: "user", content: "a" }));

describe("limits", { timeout: 60_000 }, () => {
  let service: RunningService;

  before(async () => {
    service = await startService(["llama"], limits);
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  test("hello tells every one of them", async () => {
    using client = await StreamClient.connect(service.url);
    const hello = await client.take("hello");
    assert.deepEqual(new Set(Object.keys(hello.limits)), new Set(Object.keys(beyond).map(snakeCase)));
    for (const [name, value] of Object.entries(limits)) assert.equal(hello.limits[snakeCase(name)], value, name);
    assert.equal(hello.heartbeat_s, 1);
  });

  test("the table in the documentation names each with its default and what lies beyond", () => {
    const documentation = readFileSync("docs/protocol.md", "utf8");
    const defaults: Readonly<Record<string, unknown>> = loadConfig(undefined, {}, {});
    for (const [name, code] of Object.entries(beyond)) {
      const flag = settings.find(({ key }) => key === name)?.flag;
      assert.ok(flag !== undefined, `${name} is a setting`);
      const row = documentation.split("\n").find((line) => line.startsWith(`| \`${snakeCase(name)}\``));
      const cells = row?.split("|").map((cell) => cell.trim());
      assert.ok(cells !== undefined, `${name} is missing from docs/protocol.md`);
      assert.deepEqual([cells[2], cells[3], cells[5]], [`\`${flag}\``, String(defaults[name]), code]);
    }
  });

  test("messages a second: what is too much is refused and can be sent again; too much of that closes with 4429", async () => {
    using client = await StreamClient.connect(service.url);
    for (let count = 0; count < 11; count++) client.send({ type: "ping", t: count });
    const refused = await client.take("error");
    assert.deepEqual([refused.code, refused.retryable, refused.retry_after_ms], ["too_many_messages", true, 1_000]);
    for (let count = 0; count < 20; count++) client.send({ type: "ping" });
    assert.equal(await client.closed, 4429);
  });

  test("acknowledgements beyond it are passed over without a word", async () => {
    using client = await StreamClient.connect(service.url);
    for (let count = 0; count < 50; count++) client.send({ type: "ack", id: "x", seq: count });
    client.send({ type: "ping" });
    assert.equal((await client.take("error")).code, "too_many_messages", "of the ping");
  });

  test("connections: 429 before the upgrade, with a time to come back", async () => {
    using one = await StreamClient.connect(service.url);
    using two = await StreamClient.connect(service.url);
    using three = await StreamClient.connect(service.url);
    const { status, body, headers } = await upgrade(service.url, "/v1/stream", { "Sec-WebSocket-Protocol": "llamapod.v1" });
    assert.deepEqual([status, body.error.code, headers["retry-after"]], [429, "too_many_connections", "5"]);
    for (const client of [one, two, three]) client.send({ type: "ping" });
    await Promise.all([one, two, three].map((client) => client.take("pong")));
  });

  test("answers at the same time: the next one is refused until one has ended", async () => {
    using client = await StreamClient.connect(service.url);
    for (const id of ["a", "b"]) client.send({ type: "generate", ...greedy(id, 20) });
    client.send({ type: "generate", ...greedy("c", 1) });
    const refused = await client.take("error", "c");
    assert.deepEqual([refused.code, refused.retryable, refused.seq], ["too_many_generations", true, undefined]);
    const http = await request(service.url)
      .post("/v1/chat/completions")
      .send({ messages: [{ role: "user", content: "Hi" }], max_tokens: 1 });
    if (http.status !== 200) assert.equal((http.body as { error: { code: string } }).error.code, "too_many_generations");
    await client.takeWhere(({ type }) => type === "done");
    await client.takeWhere(({ type }) => type === "done");
    await client.generate(greedy("c", 1));
  });

  for (const [what, fields, code, param] of [
    ["messages", { max_tokens: 1, messages: oneLetterMessages }, "conversation_too_long", "messages"],
    ["max_tokens", { max_tokens: 1_001 }, "max_tokens_exceeded", "max_tokens"],
    ["stop", { max_tokens: 1, stop: ["a", "b", "c"] }, "too_many_stop_strings", "stop"],
    ["grace", { max_tokens: 1, detach: { grace_s: 10 } }, "grace_too_long", "detach.grace_s"],
  ] as const) {
    test(`${what}: refused with ${code}, naming the field and the limit`, async () => {
      using client = await StreamClient.connect(service.url);
      client.socket.send(JSON.stringify({ type: "generate", ...greedy(`too-${what}`, 1), ...fields }));
      const error = await client.take("error");
      assert.deepEqual([error.code, error.param, error.retryable], [code, param, false]);
    });
  }

  test("over HTTP the same", async () => {
    const response = await request(service.url)
      .post("/v1/chat/completions")
      .send({ messages: [{ role: "user", content: "Hi" }], max_tokens: 5_000 });
    assert.equal(response.status, 400);
    assert.equal((response.body as { error: { code: string } }).error.code, "max_tokens_exceeded");
  });

  test("an answer's log: ends it with answer_too_long, and its slot is free", async () => {
    using client = await StreamClient.connect(service.url);
    client.send({ type: "generate", ...greedy("long", 1_000) });
    const answer = new Answer("long");
    for (;;) {
      const message = await client.takeWhere((candidate) => "first" in candidate && candidate.id === "long");
      answer.apply(message);
      assert.notEqual(message.type, "done");
      if (message.type !== "error") continue;
      assert.deepEqual([message.code, message.param], ["answer_too_long", "max_tokens"]);
      break;
    }
    await client.generate(greedy("after", 1));
  });

  test("nothing said, nothing read: 4408", async () => {
    using client = await StreamClient.connect(service.url);
    assert.equal(await client.closed, 4408);
  });

  test("slow headers and a slow body: 408", async () => {
    for (const start of [
      "GET / HTTP/1.1\r\nHost: loc",
      "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
    ]) {
      const socket = connect(Number(new URL(service.url).port), "127.0.0.1");
      socket.write(start);
      assert.match((await socket.toArray()).join(""), /^HTTP\/1\.1 408 /);
    }
  });
});
