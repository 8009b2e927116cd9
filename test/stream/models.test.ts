import assert from "node:assert/strict";
import { test } from "node:test";
import type { Family } from "../fixtures/tiny-models.ts";
import { greedy, StreamClient } from "../support/stream-client.ts";
import { startService } from "../support/service.ts";

test("a switch makes another model the one that answers, and every connection is told", async () => {
  await using service = await startService(["gpt2", "gemma2"], { maxResident: 2 });
  using client = await StreamClient.connect(service.url);
  using bystander = await StreamClient.connect(service.url);
  client.send({ type: "switch", model: "gemma2" });

  const isReady = (id: string, active: boolean) => (message: { type: string }) =>
    message.type === "model" &&
    "id" in message &&
    message.id === id &&
    "active" in message &&
    message.active === active &&
    "state" in message &&
    message.state === "ready";
  await bystander.takeWhere(isReady("gpt2", false));
  await bystander.takeWhere(isReady("gemma2", true));
  const revisions = bystander.received.flatMap((message) => (message.type === "model" ? [message.rev] : []));
  assert.deepEqual(
    revisions,
    [...revisions].sort((a, b) => a - b),
  );
  assert.equal(new Set(revisions).size, revisions.length);
  const progress = bystander.received.flatMap((message) =>
    message.type === "model" && message.id === "gemma2" && message.state === "loading" ? [message.progress ?? NaN] : [],
  );
  assert.ok(progress.length > 0 && progress.every((part) => part >= 0 && part <= 1), JSON.stringify(progress));
  assert.deepEqual(
    progress,
    [...progress].sort((a, b) => a - b),
  );

  client.send({ type: "generate", ...greedy("after", 2) });
  assert.equal((await client.take("started", "after")).model, "gemma2");
  using newcomer = await StreamClient.connect(service.url);
  assert.equal((await newcomer.take("hello")).active_model, "gemma2");

  client.send({ type: "switch", model: "no-such-model" });
  const error = await client.take("error");
  assert.deepEqual([error.code, error.param, error.model], ["model_not_found", "model", "no-such-model"]);
  client.send({ type: "switch", model: "" });
  assert.equal((await client.take("error")).model, "", "also where the message itself is refused");
  client.send({ type: "generate", ...greedy("still", 2) });
  assert.equal((await client.take("started", "still")).model, "gemma2");
});

test("two models take turns where only one fits, and every request is answered by its own", async () => {
  await using service = await startService(["gpt2", "gemma2"], { maxResident: 1, slots: 2 });
  using client = await StreamClient.connect(service.url);
  const asked = Array.from({ length: 8 }, (_, index) => {
    const model: Family = index % 2 === 0 ? "gpt2" : "gemma2";
    return { id: `turn-${index}`, model };
  });
  for (const { id, model } of asked) client.send({ type: "generate", ...greedy(id, 20, id), model });
  const answeredBy = new Map<string, string>();
  for (let ended = 0; ended < asked.length;) {
    const message = await client.takeWhere(({ type }) => type === "started" || type === "done" || type === "error");
    assert.notEqual(message.type, "error", JSON.stringify(message));
    if (message.type === "started") answeredBy.set(message.id, message.model);
    if (message.type === "done") ended++;
  }
  assert.deepEqual(answeredBy, new Map(asked.map(({ id, model }) => [id, model])));
});

test("a switch where only one model fits puts the new one in the place of the old one, without a request", async () => {
  await using service = await startService(["gpt2", "gemma2"], { maxResident: 1 });
  using client = await StreamClient.connect(service.url);
  client.send({ type: "switch", model: "gemma2" });
  await client.takeWhere((message) => message.type === "model" && message.id === "gemma2" && message.state === "ready");
  const models = client.received.filter((message) => message.type === "model");
  assert.ok(models.some(({ id, state }) => id === "gpt2" && state === "draining"));
});
