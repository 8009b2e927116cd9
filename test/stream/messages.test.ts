import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { greedy, sha256, StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

describe("llamapod.v1 messages", () => {
  let service: RunningService;
  let client: StreamClient;

  before(async () => {
    service = await startService(["llama", "gpt2"], { maxMessageBytes: 4096, maxResident: 2 });
    client = await StreamClient.connect(service.url);
  });
  after(async () => {
    client[Symbol.dispose]();
    await service[Symbol.asyncDispose]();
  });

  test("hello comes first and describes the server", async () => {
    using newcomer = await StreamClient.connect(service.url);
    const hello = await newcomer.take("hello");
    assert.equal(newcomer.received[0], hello);
    assert.equal(hello.active_model, "llama");
    assert.deepEqual(
      hello.models.map(({ id, state, active }) => ({ id, state, active })),
      [
        { id: "gpt2", state: "available", active: false },
        { id: "llama", state: "ready", active: true },
      ],
    );
    assert.equal(hello.limits["max_message_bytes"], 4096);
    assert.ok(hello.heartbeat_s > 0);
  });

  test("generate is answered by started, deltas and done", async () => {
    const answer = await client.generate(greedy("whole", 50));
    const frames = client.received.filter((message) => "first" in message && message.id === "whole");
    assert.equal(frames[0]?.type, "started");
    assert.ok(frames.slice(1, -1).every(({ type }) => type === "delta"));
    const { done } = answer;
    assert.equal(done.finish_reason, "length");
    assert.equal(done.usage.completion_tokens, 50);
    assert.equal(answer.tokens, 50, "the deltas count every token");
    assert.ok(done.usage.prompt_tokens > 5);
    assert.ok(done.usage.cached_tokens <= done.usage.prompt_tokens);
    assert.equal(done.timings.interruptions, 0);
    assert.ok(done.timings.ttft_ms >= done.timings.prefill_ms);
    assert.ok(done.timings.decode_tokens_per_second > 0);
  });

  test("delta times do not go backwards", async () => {
    await client.generate(greedy("times", 30));
    const times = client.received.flatMap((message) => (message.type === "delta" && message.id === "times" ? [message.t] : []));
    assert.deepEqual(
      times,
      [...times].sort((a, b) => a - b),
    );
  });

  test("a raw prompt is continued", async () => {
    const { done, text } = await client.generate({ id: "raw", prompt: "Once upon a time", temperature: 0, max_tokens: 8 });
    assert.equal(done.usage.completion_tokens, 8);
    assert.notEqual(text, "");
  });

  test("a named model answers although another one is active", async () => {
    client.send({ type: "generate", ...greedy("named", 4), model: "gpt2" });
    assert.equal((await client.take("started", "named")).model, "gpt2");
    await client.take("done", "named");
  });

  test("two generations share a connection", async () => {
    client.send({ type: "generate", ...greedy("one", 40, "One.") });
    client.send({ type: "generate", ...greedy("two", 40, "Two.") });
    const ended = new Set(
      [
        (await client.takeWhere(({ type }) => type === "done")) as { id?: string },
        (await client.takeWhere(({ type }) => type === "done")) as { id?: string },
      ].map(({ id }) => id),
    );
    assert.deepEqual(ended, new Set(["one", "two"]));
  });

  test("ping is answered by pong, with its t", async () => {
    client.send({ type: "ping", t: 12.5 });
    assert.equal((await client.take("pong")).t, 12.5);
    client.send({ type: "ping" });
    assert.equal("t" in (await client.take("pong")), false);
  });

  test("an ack of an unknown generation is no error", async () => {
    client.send({ type: "ack", id: "never", seq: 3 });
    client.send({ type: "cancel", id: "never" });
    client.send({ type: "ping", t: 1 });
    const message = await client.takeWhere(({ type }) => type === "pong" || type === "error");
    assert.equal(message.type, "pong");
  });

  const bad = [
    { what: "an unknown field", frame: { type: "generate", ...greedy("x", 1), temprature: 0 }, param: "temprature" },
    { what: "a wrong type", frame: { type: "generate", ...greedy("x", 1), max_tokens: "1" }, param: "max_tokens" },
    { what: "a number out of range", frame: { type: "generate", ...greedy("x", 1), top_p: 2 }, param: "top_p" },
    {
      what: "an unknown role",
      frame: { type: "generate", id: "x", messages: [{ role: "pope", content: "" }] },
      param: "messages.0.role",
    },
    { what: "no messages", frame: { type: "generate", id: "x", messages: [] }, param: "messages" },
    { what: "messages and prompt", frame: { type: "generate", ...greedy("x", 1), prompt: "y" }, param: "messages" },
    { what: "an id with a slash", frame: { type: "cancel", id: "../x" }, param: "id" },
    { what: "a negative after", frame: { type: "resume", id: "x", after: -1 }, param: "after" },
    { what: "an unknown type", frame: { type: "generat" }, param: "type" },
    { what: "no type", frame: {}, param: "type" },
  ];
  for (const { what, frame, param } of bad) {
    test(`${what} is refused by name, and the connection lives on`, async () => {
      using fresh = await StreamClient.connect(service.url);
      fresh.socket.send(JSON.stringify(frame));
      const error = await fresh.take("error");
      assert.equal(error.code, "invalid_message");
      assert.equal(error.param, param);
      assert.match(error.message, new RegExp(param.replaceAll(".", "\\.")));
      assert.equal(error.retryable, false);
      assert.equal(error.seq, undefined, "no generation has ended");
      fresh.send({ type: "ping", t: 1 });
      await fresh.take("pong");
    });
  }

  test("what is not JSON, or not an object, is refused, and the connection lives on", async () => {
    using fresh = await StreamClient.connect(service.url);
    fresh.socket.send("{");
    assert.equal((await fresh.take("error")).code, "invalid_json");
    for (const frame of ["[]", "null", '"generate"', ""]) {
      fresh.socket.send(frame);
      assert.match((await fresh.take("error")).code, /^invalid_(json|message)$/);
    }
    fresh.send({ type: "ping" });
    await fresh.take("pong");
  });

  test("ten bad messages close the connection with 4400", async () => {
    using fresh = await StreamClient.connect(service.url);
    for (let count = 0; count < 10; count++) fresh.socket.send("{}");
    assert.equal(await fresh.closed, 4400);
    assert.equal(fresh.received.filter(({ type }) => type === "error").length, 10);
  });

  test("what no model can answer ends the generation with the reason", async () => {
    client.send({ type: "generate", ...greedy("unknown-model", 1), model: "../../etc/passwd" });
    const unknown = await client.take("error", "unknown-model");
    assert.deepEqual([unknown.code, unknown.param, unknown.first, unknown.seq], ["model_not_found", "model", 1, 1]);

    client.send({ type: "generate", id: "too-long", prompt: "1 ".repeat(1_500) });
    const tooLong = await client.take("error", "too-long");
    assert.deepEqual([tooLong.code, tooLong.param, tooLong.retryable], ["context_length_exceeded", "prompt", false]);
  });

  test("stop strings end the answer and are not shown", async () => {
    const whole = await client.generate(greedy("unstopped", 60));
    const stop = whole.text.slice(20, 24);
    const stopped = await client.generate({ ...greedy("stopped", 60), stop: [stop] });
    assert.equal(stopped.done.finish_reason, "stop");
    assert.equal(stopped.text, whole.text.slice(0, whole.text.indexOf(stop)));
    assert.equal(stopped.done.text_sha256, sha256(stopped.text));
  });
});
