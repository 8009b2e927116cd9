import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import request from "supertest";
import { loadConfig, settings } from "../../src/config.ts";
import { beyond, snakeCase } from "../../src/protocol/limits.ts";
import { Answer, greedy, StreamClient } from "../support/stream-client.ts";
import { keysFile, startService, type RunningService, type TestKeys } from "../support/service.ts";
import { frame, RawSocket } from "../support/raw-socket.ts";
import { upgrade } from "../support/upgrade.ts";

const limits = {
  maxMessagesPerSecond: 5,
  maxConnections: 400,
  maxConnectionsPerClient: 3,
  maxGenerationsPerClient: 2,
  maxMessages: 2_000,
  maxTokens: 1_000,
  maxStopStrings: 2,
  maxGraceSeconds: 9,
  maxLogBytes: 4_096,
  heartbeatSeconds: 1,
  idleSeconds: 3,
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

  test("acknowledgements leave everything else its place: what is asked beside hundreds of them is answered", async () => {
    using client = await StreamClient.connect(service.url);
    for (let count = 0; count < 150; count++) client.send({ type: "ack", id: "x", seq: count });
    client.send({ type: "ping" });
    const answer = await client.takeWhere(({ type }) => type === "pong" || type === "error");
    assert.equal(answer.type, "pong", JSON.stringify(answer));
  });

  test("an acknowledgement of an answer's end counts however many there were", async () => {
    using client = await StreamClient.connect(service.url);
    const { lastSeq } = await client.generate(greedy("freed", 2));
    // The last few of them are more than the limit, but not as many as would close the connection.
    for (let count = 0; count < 208; count++) client.send({ type: "ack", id: "x", seq: count });
    client.send({ type: "ack", id: "freed", seq: lastSeq });
    client.send({ type: "resume", id: "freed", after: 0 });
    const answer = await client.takeWhere((message) => "id" in message && message.id === "freed");
    assert.deepEqual([answer.type, answer.type === "error" && answer.code], ["error", "resume_expired"]);
  });

  test("connections: 429 before the upgrade, with a time to come back", async () => {
    using one = await StreamClient.connect(service.url);
    using two = await StreamClient.connect(service.url);
    using three = await StreamClient.connect(service.url);
    const { status, body, headers } = await upgrade(service.url, "/v1/stream", { "Sec-WebSocket-Protocol": "llamapod.v1" });
    assert.deepEqual([status, body.error.code, headers["retry-after"]], [429, "connection_share_exceeded", "5"]);
    for (const client of [one, two, three]) client.send({ type: "ping" });
    await Promise.all([one, two, three].map((client) => client.take("pong")));
  });

  test("answers at the same time: the next one is refused until one has ended", async () => {
    using client = await StreamClient.connect(service.url);
    for (const id of ["a", "b"]) client.send({ type: "generate", ...greedy(id, 20) });
    client.send({ type: "generate", ...greedy("c", 1) });
    const refused = await client.take("error", "c");
    assert.deepEqual([refused.code, refused.retryable, refused.seq], ["generation_share_exceeded", true, undefined]);
    const http = await request(service.url)
      .post("/v1/chat/completions")
      .send({ messages: [{ role: "user", content: "Hi" }], max_tokens: 1 });
    if (http.status !== 200) assert.equal((http.body as { error: { code: string } }).error.code, "generation_share_exceeded");
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

  test("two pings without an answer end the connection, whatever else is said", async () => {
    using silent = await RawSocket.open(service.url);
    using pretending = await RawSocket.open(service.url);
    const { closed } = await StreamClient.connect(service.url);
    const pong = frame({ opcode: 10, payload: "guessed" });
    const lying = setInterval(() => {
      pretending.write(pong, frame({ opcode: 1, payload: '{"type":"ping"}' }));
    }, 400);
    for (const raw of [silent, pretending]) {
      let pings = 0;
      for (let received = await raw.frame(); received !== undefined; received = await raw.frame()) {
        assert.notEqual(received.opcode, 8, "it is cut without a word");
        if (received.opcode === 9) pings++;
      }
      assert.equal(pings, 2);
    }
    clearInterval(lying);
    assert.equal(await closed, 4408, "a client that answers is only closed for being idle");
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

describe("limits of the whole server, reached by all keys together", { timeout: 60_000 }, () => {
  let service: RunningService;
  let keys: TestKeys;
  const as = (name: string) => ({ headers: { authorization: `Bearer ${keys.secrets[name] ?? ""}` } });
  const connect = (name: string) => StreamClient.connect(service.url, as(name));

  before(async () => {
    keys = await keysFile({ alice: "chat", bob: "chat" });
    service = await startService(["llama"], {
      apiKeysFile: keys.file,
      maxConnections: 2,
      maxGenerations: 2,
      maxLogBytes: 1_000_000,
      maxTotalLogBytes: 100_000,
      slots: 2,
    });
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  test("connections", async () => {
    using alice = await connect("alice");
    using bob = await connect("bob");
    const { status, body } = await upgrade(service.url, "/v1/stream", {
      "Sec-WebSocket-Protocol": "llamapod.v1",
      Authorization: as("bob").headers.authorization,
    });
    assert.deepEqual([status, body.error.code], [429, "too_many_connections"]);
    for (const client of [alice, bob]) client.send({ type: "ping" });
    await Promise.all([alice, bob].map((client) => client.take("pong")));
  });

  test("answers at the same time", async () => {
    using alice = await connect("alice");
    using bob = await connect("bob");
    for (const id of ["a", "b"]) alice.send({ type: "generate", ...greedy(id, 100) });
    await alice.take("started", "a");
    await alice.take("started", "b");
    bob.send({ type: "generate", ...greedy("c", 1) });
    const refused = await bob.take("error", "c");
    assert.deepEqual([refused.code, refused.retryable], ["too_many_generations", true]);
    await alice.takeWhere(({ type }) => type === "done");
    await alice.takeWhere(({ type }) => type === "done");
    await bob.generate(greedy("c", 1));
  });

  test("memory: ended answers go first, then the longest one under way ends, and the other one does not", async () => {
    using alice = await connect("alice");
    using bob = await connect("bob");
    await alice.generate(greedy("ended", 300));
    alice.send({ type: "generate", ...greedy("longest", 1_900) });
    await alice.takeWhere((message) => message.type === "delta" && message.seq > 200);
    bob.send({ type: "generate", ...greedy("shorter", 400) });
    const error = await alice.take("error", "longest");
    assert.deepEqual([error.code, error.retryable], ["log_memory_full", true]);
    assert.notEqual(error.seq, undefined, "it ends the answer");
    const { finish_reason: reason } = await bob.take("done", "shorter");
    assert.equal(reason, "length");
    alice.send({ type: "resume", id: "ended", after: 0 });
    assert.equal((await alice.take("error", "ended")).code, "resume_expired");
  });
});
