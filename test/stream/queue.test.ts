import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { runnersOf } from "../support/processes.ts";
import { Answer, greedy, sha256, StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

describe("a server with one slot and room for two in the queue", () => {
  let service: RunningService;
  let client: StreamClient;

  before(async () => {
    service = await startService(["llama"], { slots: 1, maxQueue: 2 });
    client = await StreamClient.connect(service.url);
  });
  after(async () => {
    client[Symbol.dispose]();
    await service[Symbol.asyncDispose]();
  });

  test("who waits is told the place and the reason", async () => {
    client.send({ type: "generate", ...greedy("holder", 2_000) });
    await client.take("delta", "holder");
    client.send({ type: "generate", ...greedy("second", 3) });
    client.send({ type: "generate", ...greedy("third", 3) });
    const second = await client.take("queued", "second");
    const third = await client.take("queued", "third");
    assert.deepEqual([second.position, second.reason], [1, "slot"]);
    assert.deepEqual([third.position, third.reason], [2, "slot"]);
  });

  test("a full queue: overloaded on WebSocket, 429 with Retry-After on HTTP", async () => {
    client.send({ type: "generate", ...greedy("fourth", 3) });
    const error = await client.take("error", "fourth");
    assert.deepEqual([error.code, error.retryable, error.first, error.seq], ["overloaded", true, 1, 1]);
    assert.ok((error.retry_after_ms ?? 0) >= 1_000);

    const response = await fetch(`${service.url}/v1/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt: "x", stream: true }),
    });
    assert.equal(response.status, 429);
    assert.ok(Number(response.headers.get("retry-after")) >= 1);
    const body = (await response.json()) as { error: { code: string; type: string } };
    assert.deepEqual([body.error.code, body.error.type], ["overloaded", "rate_limit_error"]);
  });

  test("cancelling what waits ends it at once, without a token", async () => {
    client.send({ type: "cancel", id: "second" });
    const done = await client.take("done", "second");
    assert.deepEqual([done.finish_reason, done.first, done.usage.completion_tokens], ["cancelled", 1, 0]);
    assert.equal(done.text_sha256, sha256(""));
  });

  test("who moves up is told so, however soon", async () => {
    // The slot's holder stands still, so that nothing but the queue moves.
    const [runner] = runnersOf(process.pid);
    assert.ok(runner !== undefined);
    process.kill(runner, "SIGSTOP");
    client.send({ type: "generate", ...greedy("last", 3) });
    assert.equal((await client.take("queued", "last")).position, 2);
    client.send({ type: "cancel", id: "third" });
    assert.equal((await client.take("queued", "last")).position, 1);
    process.kill(runner, "SIGCONT");
  });

  test("cancelling what runs ends it with what it has, and the next one begins", async () => {
    using watcher = await StreamClient.connect(service.url);
    const answer = new Answer("holder");
    watcher.send({ type: "resume", id: "holder", after: 0 });
    answer.apply(await watcher.take("started", "holder"));
    client.send({ type: "cancel", id: "holder" });
    const done = await watcher.readTo(answer);
    assert.equal(done.finish_reason, "cancelled");
    assert.equal(done.usage.completion_tokens, answer.tokens);
    assert.ok(answer.tokens > 0 && answer.tokens < 2_000);
    assert.equal((await client.take("done", "last")).finish_reason, "length");
  });

  test("what was refused may be sent again under its id", async () => {
    assert.equal((await client.generate(greedy("fourth", 3))).done.finish_reason, "length");
  });

  test("a cancel of what has ended changes nothing", async () => {
    client.send({ type: "cancel", id: "last" });
    client.send({ type: "resume", id: "last", after: 0 });
    assert.equal((await client.take("done", "last")).finish_reason, "length");
  });
});
