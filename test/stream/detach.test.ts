import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Answer, greedy, StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

describe("what becomes of an answer that nobody reads", () => {
  let service: RunningService;

  before(async () => {
    service = await startService(["llama"], { slots: 1 });
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  async function leave(id: string, detach: { grace_s?: number; on_expire?: "cancel" | "finish" }): Promise<void> {
    using reader = await StreamClient.connect(service.url);
    reader.send({ type: "generate", ...greedy(id, 600), detach });
    await reader.take("delta", id);
  }

  async function outcome(id: string): Promise<string> {
    using client = await StreamClient.connect(service.url);
    // Its slot is free when the next answer begins.
    await client.generate(greedy(`after-${id}`, 1));
    client.send({ type: "resume", id, after: 0 });
    return (await client.take("done", id)).finish_reason;
  }

  test("a grace time of 0 ends it at once", async () => {
    await leave("impatient", { grace_s: 0 });
    assert.equal(await outcome("impatient"), "cancelled");
  });

  test("on_expire: finish lets it end by itself, whatever the grace time", async () => {
    await leave("finished", { grace_s: 0, on_expire: "finish" });
    assert.equal(await outcome("finished"), "length");
  });

  test("how it is to be kept does not make another request of it", async () => {
    using client = await StreamClient.connect(service.url);
    const first = await client.generate({ ...greedy("kept", 5), detach: { grace_s: 1 }, reader: "one" });
    const again = await client.generate({ ...greedy("kept", 5), detach: { grace_s: 2 }, reader: "two" });
    assert.deepEqual(again.done, first.done);
  });
});

describe("a reader with several connections", () => {
  let service: RunningService;

  before(async () => {
    service = await startService(["llama"]);
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  test("reads over the newest one, and the older is told", async () => {
    using older = await StreamClient.connect(service.url);
    using newer = await StreamClient.connect(service.url);
    older.send({ type: "generate", ...greedy("moved", 400), reader: "tab" });
    await older.take("started", "moved");
    const answer = new Answer("moved");
    newer.send({ type: "resume", id: "moved", after: 0, reader: "tab" });
    const superseded = await older.take("error", "moved");
    assert.deepEqual([superseded.code, superseded.seq], ["superseded", undefined]);
    await newer.readTo(answer);
    older.send({ type: "ping" });
    await older.take("pong");
    assert.ok(!older.received.some(({ type }) => type === "done"), "it was not given the rest");
  });

  test("asks again on the same connection without superseding itself", async () => {
    using client = await StreamClient.connect(service.url);
    client.send({ type: "generate", ...greedy("twice", 100), reader: "tab" });
    client.send({ type: "resume", id: "twice", after: 0, reader: "tab" });
    await client.take("done", "twice");
    assert.ok(!client.received.some(({ type }) => type === "error"));
  });

  test("watchers of other names, or none, read beside each other", async () => {
    const clients = await Promise.all([1, 2, 3].map(() => StreamClient.connect(service.url)));
    const [asking, watching, nameless] = clients;
    asking?.send({ type: "generate", ...greedy("shared", 200), reader: "a" });
    await asking?.take("started", "shared");
    watching?.send({ type: "resume", id: "shared", after: 0, reader: "b" });
    nameless?.send({ type: "resume", id: "shared", after: 0 });
    const ends = await Promise.all(clients.map((client) => client.take("done", "shared")));
    assert.equal(new Set(ends.map(({ text_sha256: hash }) => hash)).size, 1);
    for (const client of clients) client[Symbol.dispose]();
  });
});
