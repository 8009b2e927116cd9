import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Answer, greedy, StreamClient } from "../support/stream-client.ts";
import { sample, scrape } from "../support/metrics.ts";
import { until } from "../support/processes.ts";
import { keysFile, startService, type RunningService } from "../support/service.ts";

describe("a grace time of 0 and one slot", () => {
  let service: RunningService;

  before(async () => {
    // Batches of one token: the same answer is the same to the last bit.
    service = await startService(["llama"], { graceSeconds: 0, slots: 1, batchSize: 1 });
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  test("an answer that nobody reads is cancelled, and its slot is free", async () => {
    {
      using reader = await StreamClient.connect(service.url);
      reader.send({ type: "generate", ...greedy("left", 2_000) });
      await reader.take("delta", "left");
    }
    using client = await StreamClient.connect(service.url);
    await client.generate(greedy("next", 1));
    const left = new Answer("left");
    client.send({ type: "resume", id: "left", after: 0 });
    const done = await client.readTo(left);
    assert.equal(done.finish_reason, "cancelled");
    const { completion_tokens: tokens } = done.usage;
    assert.ok(tokens < 2_000);
    assert.equal(left.text, (await client.generate(greedy("whole", tokens))).text, "all that was computed came out");
  });

  test("one reader of two is enough to keep an answer going", async () => {
    using staying = await StreamClient.connect(service.url);
    {
      using leaving = await StreamClient.connect(service.url);
      leaving.send({ type: "generate", ...greedy("shared", 300) });
      await leaving.take("started", "shared");
      staying.send({ type: "resume", id: "shared", after: 0 });
      await staying.take("started", "shared");
    }
    assert.equal((await staying.take("done", "shared")).finish_reason, "length");
  });
});

describe("the log of an ended answer", { timeout: 60_000 }, () => {
  let service: RunningService;

  before(async () => {
    service = await startService(["gpt2"]);
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  const complete = async (client: StreamClient, id: string, reader?: string) => {
    const answer = new Answer(id);
    client.send({ type: "resume", id, after: 0, ...(reader !== undefined && { reader }) });
    await client.readTo(answer);
    return answer;
  };
  const endAcknowledged = async (client: StreamClient, { id, lastSeq }: Answer) => {
    client.send({ type: "ack", id, seq: lastSeq });
    client.send({ type: "ping" });
    await client.take("pong");
  };

  test("is kept for a reader with a name that was cut, though another one has it all", async () => {
    {
      using cut = await StreamClient.connect(service.url);
      cut.send({ type: "generate", ...greedy("watched", 40), reader: "tab" });
      await cut.take("started", "watched");
    }
    using watcher = await StreamClient.connect(service.url);
    const watched = await complete(watcher, "watched", "other");
    await endAcknowledged(watcher, watched);
    using again = await StreamClient.connect(service.url);
    assert.equal((await complete(again, "watched", "tab")).text, watched.text);
  });

  test("goes when all of its readers have acknowledged it, a named one over any connection", async () => {
    {
      using cut = await StreamClient.connect(service.url);
      cut.send({ type: "generate", ...greedy("all", 40), reader: "tab" });
      await cut.take("started", "all");
    }
    using watcher = await StreamClient.connect(service.url);
    await endAcknowledged(watcher, await complete(watcher, "all"));
    using again = await StreamClient.connect(service.url);
    await endAcknowledged(again, await complete(again, "all", "tab"));
    again.send({ type: "resume", id: "all", after: 0 });
    assert.equal((await again.take("error", "all")).code, "resume_expired");
  });
});

test("an ended answer is forgotten after the retention time", async () => {
  await using service = await startService(["gpt2"], { retentionSeconds: 0 });
  using client = await StreamClient.connect(service.url);
  await client.generate(greedy("short-lived", 2));
  // The time is up a moment after the end; until then the answer is given again.
  for (;;) {
    client.send({ type: "resume", id: "short-lived", after: 0 });
    const message = await client.takeWhere(({ type }) => type === "done" || type === "error");
    if (message.type === "done") continue;
    assert.ok(message.type === "error" && message.code === "resume_expired");
    break;
  }
});

test("answers of one key do not push out those of another", async () => {
  const { file: apiKeysFile, secrets } = await keysFile({ alice: "chat", bob: "chat" });
  const many = 10;
  await using service = await startService(["gpt2"], { apiKeysFile, maxKeptAnswers: many });
  const connect = (name: string) =>
    StreamClient.connect(service.url, { headers: { authorization: `Bearer ${secrets[name] ?? ""}` } });
  using alice = await connect("alice");
  await alice.generate(greedy("unread", 2));
  using bob = await connect("bob");
  for (let count = 0; count < many; count++) bob.send({ type: "generate", ...greedy(`one-of-${count}`, 1) });
  for (let count = 0; count < many; count++) await bob.take("done");
  alice.send({ type: "resume", id: "unread", after: 0 });
  const last = await alice.takeWhere(({ type }) => type === "done" || type === "error");
  assert.equal(last.type, "done", JSON.stringify(last));
  bob.send({ type: "resume", id: "one-of-0", after: 0 });
  assert.equal((await bob.take("error", "one-of-0")).code, "resume_expired");
});

test("of an answer over server-sent events that its reader has left, nothing is kept", { timeout: 30_000 }, async () => {
  await using service = await startService(["gpt2"]);
  const leaving = new AbortController();
  const response = await fetch(`${service.url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ prompt: "Hi", max_tokens: 1_900, ignore_eos: true, stream: true }),
    signal: leaving.signal,
  });
  const kept = async () => sample(await scrape(service.url), "llamapod_stream_replay_bytes");
  assert.ok(response.ok && (await kept()) > 0);
  leaving.abort();
  await until(async () => (await kept()) === 0);
});
