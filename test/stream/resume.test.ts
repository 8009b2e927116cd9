import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { ServerMessage } from "../../src/protocol/stream.ts";
import { Answer, greedy, sha256, StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

describe("resuming", () => {
  let service: RunningService;
  let undisturbed: Answer;
  const tokens = 200;

  before(async () => {
    service = await startService(["llama"]);
    using client = await StreamClient.connect(service.url);
    undisturbed = await client.generate(greedy("reference", tokens));
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  test("from the start: the whole answer again", async () => {
    using client = await StreamClient.connect(service.url);
    const again = new Answer("reference");
    client.send({ type: "resume", id: "reference", after: 0 });
    await client.readTo(again);
    assert.equal(again.text, undisturbed.text);
    assert.equal(again.lastSeq, undisturbed.lastSeq);
    const deltas = client.received.filter(({ type }) => type === "delta");
    assert.equal(deltas.length, 1, "what is there already comes in one frame");
  });

  test("from any point: what follows it, and nothing twice", async () => {
    using client = await StreamClient.connect(service.url);
    for (const { seq, text } of undisturbed.snapshots.filter((_, index) => index % 40 === 3)) {
      const rest = new Answer("reference");
      rest.lastSeq = seq;
      rest.text = text;
      client.send({ type: "resume", id: "reference", after: seq });
      await client.readTo(rest);
      assert.equal(rest.text, undisturbed.text);
    }
  });

  test("from the end of what has ended: silence", async () => {
    using client = await StreamClient.connect(service.url);
    client.send({ type: "resume", id: "reference", after: undisturbed.lastSeq });
    client.send({ type: "ping" });
    await client.take("pong");
    assert.deepEqual(
      client.received.map(({ type }) => type),
      ["hello", "pong"],
    );
  });

  test("from beyond the end: refused, and nothing has ended", async () => {
    using client = await StreamClient.connect(service.url);
    client.send({ type: "resume", id: "reference", after: undisturbed.lastSeq + 1 });
    const error = await client.take("error", "reference");
    assert.deepEqual([error.code, error.param, error.seq], ["invalid_message", "after", undefined]);
  });

  test("of an id that nobody has used: generation_not_found", async () => {
    using client = await StreamClient.connect(service.url);
    client.send({ type: "resume", id: "nobody", after: 0 });
    const error = await client.take("error", "nobody");
    assert.deepEqual([error.code, error.param, error.seq], ["generation_not_found", "id", undefined]);
  });

  test("after the whole answer was acknowledged: resume_expired", async () => {
    using client = await StreamClient.connect(service.url);
    const { lastSeq } = await client.generate(greedy("acknowledged", 10));
    client.send({ type: "ack", id: "acknowledged", seq: lastSeq - 1 });
    client.send({ type: "resume", id: "acknowledged", after: lastSeq - 1 });
    await client.take("done", "acknowledged");
    client.send({ type: "ack", id: "acknowledged", seq: lastSeq });
    client.send({ type: "resume", id: "acknowledged", after: 0 });
    assert.equal((await client.take("error", "acknowledged")).code, "resume_expired");
  });

  test("a lost connection ends nothing: a new one gets exactly the rest", async () => {
    const answer = new Answer("lost");
    {
      using first = await StreamClient.connect(service.url);
      first.send({ type: "generate", ...greedy("lost", tokens) });
      while (answer.lastSeq < 30) answer.apply(await first.takeWhere((message) => "first" in message));
    }
    using second = await StreamClient.connect(service.url);
    second.send({ type: "resume", id: "lost", after: answer.lastSeq });
    const done = await second.readTo(answer);
    assert.equal(answer.text, undisturbed.text);
    assert.equal(done.text_sha256, sha256(undisturbed.text));
    assert.equal(answer.lastSeq, undisturbed.lastSeq);
  });

  test("a second connection watches live, from the start, and both get everything", async () => {
    using writer = await StreamClient.connect(service.url);
    using watcher = await StreamClient.connect(service.url);
    const [written, watched] = [new Answer("watched"), new Answer("watched")];
    writer.send({ type: "generate", ...greedy("watched", tokens) });
    written.apply(await writer.take("started", "watched"));
    watcher.send({ type: "resume", id: "watched", after: 0 });
    await Promise.all([writer.readTo(written), watcher.readTo(watched)]);
    assert.equal(written.text, undisturbed.text);
    assert.equal(watched.text, undisturbed.text);
    assert.ok(watcher.received.filter(({ type }) => type === "delta").length > 1, "it came while it was made");
  });

  test("a watcher that goes takes nothing with it", async () => {
    using writer = await StreamClient.connect(service.url);
    const written = new Answer("unwatched");
    writer.send({ type: "generate", ...greedy("unwatched", tokens) });
    written.apply(await writer.take("started", "unwatched"));
    {
      using watcher = await StreamClient.connect(service.url);
      watcher.send({ type: "resume", id: "unwatched", after: 0 });
      await watcher.take("started", "unwatched");
    }
    await writer.readTo(written);
    assert.equal(written.text, undisturbed.text);
  });

  test("the same request under the same id attaches, and is computed once", async () => {
    using first = await StreamClient.connect(service.url);
    using second = await StreamClient.connect(service.url);
    const [one, two] = [new Answer("same"), new Answer("same")];
    first.send({ type: "generate", ...greedy("same", tokens) });
    one.apply(await first.take("started", "same"));
    second.send({ type: "generate", ...greedy("same", tokens) });
    const [done, again] = await Promise.all([first.readTo(one), second.readTo(two)]);
    assert.deepEqual(again, done, "down to its timings");
    assert.equal(two.text, undisturbed.text);
  });

  test("another request under the same id is idempotency_conflict, and the first goes on", async () => {
    using client = await StreamClient.connect(service.url);
    const answer = new Answer("taken");
    client.send({ type: "generate", ...greedy("taken", tokens) });
    answer.apply(await client.take("started", "taken"));
    client.send({ type: "generate", ...greedy("taken", tokens + 1) });
    let conflict: ServerMessage | undefined;
    for (;;) {
      const message = await client.takeWhere(({ type }) => type === "delta" || type === "done" || type === "error");
      if (message.type === "error") conflict = message;
      else answer.apply(message);
      if (message.type === "done") break;
    }
    assert.ok(conflict?.type === "error" && conflict.code === "idempotency_conflict");
    assert.deepEqual([conflict.id, conflict.param, conflict.seq], ["taken", "id", undefined]);
    assert.equal(answer.text, undisturbed.text);
  });
});
