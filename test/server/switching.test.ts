import assert from "node:assert/strict";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { hostileFile, type HostileKind } from "../fixtures/hostile.ts";
import { tinyModel, type Family } from "../fixtures/tiny-models.ts";
import { sample, scrape } from "../support/metrics.ts";
import { Operator } from "../support/operator.ts";
import { runnersOf, until } from "../support/processes.ts";
import { residentMemory } from "../support/runner-memory.ts";
import { modelsFolder, serveFolder, startService } from "../support/service.ts";
import { Answer, greedy, isFrame, StreamClient } from "../support/stream-client.ts";

// One slot and batches of one token: read or written, a token is computed in the same way, to the last bit.
const exact = { slots: 1, batchSize: 1 };
/** As it is for everybody, but not for most tests. */
const withSpare = { warmSpare: "on" };
const oneAtATime = { ...withSpare, maxResident: 1, parkAfterSeconds: 0, minResidencySeconds: 1 };

describe("a switch where both models fit", () => {
  test("loads the new one beside the old one, and nobody waits", async () => {
    await using service = await startService(["llama", "gpt2"], withSpare);
    using client = await StreamClient.connect(service.url);
    const answer = new Answer("running");
    client.send({ type: "generate", ...greedy("running", 400) });
    answer.apply(await client.takeWhere((message) => "first" in message));
    const operator = new Operator(service.url);
    const operation = await operator.run("switch", "gpt2");
    assert.equal(operation.state, "done");
    const done = await client.readTo(answer);
    assert.deepEqual([answer.tokens, done.timings.interruptions], [400, 0]);
    assert.deepEqual(await operator.states(), { gpt2: "ready active", llama: "ready" });
    assert.equal((await client.generate(greedy("after", 2))).done.finish_reason, "length");
    assert.ok(client.received.some((message) => message.type === "started" && message.model === "gpt2"));
  });

  test("tells its phases and bytes", async () => {
    await using service = await startService(["llama", "gpt2"], withSpare);
    const operator = new Operator(service.url);
    const events = await operator.follow(await operator.begin("switch", "gpt2"));
    const last = events.at(-1);
    assert.deepEqual([last?.kind, last?.model, last?.state, last?.error], ["switch", "gpt2", "done", null]);
    assert.ok(events.every(({ done_bytes, total_bytes }) => done_bytes <= total_bytes));
    const bytes = events.map(({ done_bytes }) => done_bytes);
    assert.deepEqual(
      bytes,
      [...bytes].sort((a, b) => a - b),
    );
    assert.ok(events.some(({ phase }) => phase === "warming"));
  });
});

describe("a switch where only one model fits", () => {
  test("parks what runs; it goes on when its model is back, and ends as if nothing had happened", async () => {
    await using service = await startService(["llama", "gpt2"], { ...exact, ...oneAtATime });
    using client = await StreamClient.connect(service.url);
    const undisturbed = await client.generate(greedy("undisturbed", 1_000));
    const operator = new Operator(service.url);
    await operator.plan("gpt2");
    const answer = new Answer("parked");
    client.send({ type: "generate", ...greedy("parked", 1_000) });
    while (answer.tokens < 50) answer.apply(await client.takeWhere((message) => "first" in message));
    assert.equal((await operator.run("switch", "gpt2")).state, "done");
    const done = await client.readTo(answer);
    assert.deepEqual([answer.text, answer.tokens, done.timings.interruptions], [undisturbed.text, 1_000, 1]);
    assert.equal(sample(await scrape(service.url), "llamapod_generations_parked_total", { model: "llama" }), 1);
  });

  test("requests that name no model are answered by the new one, also those that came while it loaded", async () => {
    await using service = await startService(["llama", "gpt2"], { ...oneAtATime, slots: 1 });
    using client = await StreamClient.connect(service.url);
    client.send({ type: "generate", ...greedy("busy", 2_000) });
    await client.take("delta", "busy");
    client.send({ type: "generate", ...greedy("waits", 2) });
    await client.take("queued", "waits");
    client.send({ type: "switch", model: "gpt2" });
    client.send({ type: "generate", ...greedy("meanwhile", 2) });
    client.send({ type: "generate", ...greedy("by-name", 2), model: "llama" });
    assert.equal((await client.take("started", "waits")).model, "gpt2");
    assert.equal((await client.take("started", "meanwhile")).model, "gpt2");
    client.send({ type: "cancel", id: "busy" });
    assert.equal((await client.take("started", "by-name")).model, "llama");
  });
});

describe("a switch that fails", () => {
  test("because its runners are killed before it is loaded: the old model is active again, and what was parked goes on", async () => {
    await using service = await startService(["llama", "gpt2"], { ...exact, ...oneAtATime, warmSpare: "off" });
    using client = await StreamClient.connect(service.url);
    const undisturbed = await client.generate(greedy("undisturbed", 200));
    const [old] = runnersOf(process.pid);
    const operator = new Operator(service.url);
    await operator.plan("gpt2");
    const answer = new Answer("running");
    client.send({ type: "generate", ...greedy("running", 200) });
    while (answer.tokens < 20) answer.apply(await client.takeWhere((message) => "first" in message));
    await until(() => runnersOf(process.pid).length === 1);
    const operation = await operator.begin("switch", "gpt2");
    // The first has not begun to load, and is given a successor.
    const known = new Set([old]);
    while (known.size < 3) {
      await until(() => runnersOf(process.pid).some((pid) => !known.has(pid)));
      const [runner] = runnersOf(process.pid).filter((pid) => !known.has(pid));
      if (runner === undefined) continue;
      process.kill(runner, "SIGKILL");
      known.add(runner);
    }
    const { state, error } = await operator.end(operation);
    assert.deepEqual([state, error?.code], ["failed", "model_load_failed"]);
    await client.readTo(answer);
    assert.equal(answer.text, undisturbed.text);
    await until(async () => (await operator.states())["llama"] === "ready active");
  });

  for (const kind of ["unknown-architecture", "memory-template"] as const) {
    test(`${kind}: the old model stays active, and what was parked goes on`, async (context) => {
      await using service = await serveWithHostile(context, ["llama"], kind, { ...exact, ...oneAtATime });
      using client = await StreamClient.connect(service.url);
      const undisturbed = await client.generate(greedy("undisturbed", 200));
      const answer = new Answer("running");
      client.send({ type: "generate", ...greedy("running", 200) });
      while (answer.tokens < 20) answer.apply(await client.takeWhere((message) => "first" in message));
      const operator = new Operator(service.url);
      const operation = await operator.run("switch", "hostile");
      assert.deepEqual([operation.state, operation.error?.code], ["failed", "model_load_failed"]);
      await client.readTo(answer);
      assert.equal(answer.text, undisturbed.text);
      await until(async () => (await operator.states())["llama"] === "ready active");
      assert.equal(sample(await scrape(service.url), "llamapod_model_switches_total", { outcome: "failed" }), 1);
    });
  }

  test("whoever asked over WebSocket is told why", async (context) => {
    await using service = await serveWithHostile(context, ["llama"], "unknown-architecture", {});
    using client = await StreamClient.connect(service.url);
    client.send({ type: "switch", model: "hostile" });
    const error = await client.take("error");
    assert.equal(error.code, "model_load_failed");
    assert.match(error.message, /unknown model architecture/);
  });

  test("requests that name no model, and came meanwhile, are answered by the old one", async (context) => {
    await using service = await serveWithHostile(context, ["llama"], "memory-template", oneAtATime);
    using client = await StreamClient.connect(service.url);
    const operator = new Operator(service.url);
    const operation = await operator.begin("switch", "hostile");
    await until(async () => (await operator.states())["llama"] !== "ready active");
    client.send({ type: "generate", ...greedy("meanwhile", 2) });
    assert.equal((await operator.end(operation)).state, "failed");
    assert.equal((await client.take("started", "meanwhile")).model, "llama");
  });
});

test("a model that does not fit is refused with what is missing, and nothing makes room for it", async () => {
  await using service = await startService(["gpt2", "llama"], { memoryBudget: 80 * 2 ** 20 });
  const operator = new Operator(service.url);
  const plan = await operator.plan("llama");
  assert.equal(plan.outcome, "short");
  assert.ok((plan.missing?.ram_bytes ?? 0) > 0);
  const operation = await operator.run("switch", "llama");
  assert.deepEqual([operation.state, operation.error?.code], ["failed", "insufficient_memory"]);
  assert.match(operation.error?.message ?? "", /short by \d+ MiB of main memory/);
  assert.equal((await operator.states())["gpt2"], "ready active");
  const response = await fetch(`${service.url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model: "llama", prompt: "Hello", max_tokens: 1 }),
  });
  assert.equal(response.status, 422);
  assert.equal(runnersOf(process.pid).length, 1);
});

test("a plan says what a switch would do", async () => {
  await using service = await startService(["gpt2", "gemma2"], { memoryBudget: 90 * 2 ** 20 });
  const operator = new Operator(service.url);
  assert.equal((await operator.plan("gpt2")).outcome, "resident");
  const plan = await operator.plan("gemma2");
  assert.deepEqual([plan.outcome, plan.evicts], ["evicts", ["gpt2"]]);
  assert.ok(plan.needed.ram_bytes > 2 ** 20);
  await operator.run("switch", "gemma2");
  assert.deepEqual(await operator.states(), { gemma2: "ready active", gpt2: "available" });
});

test("a second switch to the same model joins the first, one to another waits its turn, and one can be called off", async () => {
  await using service = await startService(["gpt2", "llama", "qwen2"], { maxResident: 2 });
  const operator = new Operator(service.url);
  const first = await operator.begin("switch", "llama");
  const joined = await operator.begin("switch", "llama");
  const queued = await operator.begin("switch", "qwen2");
  const last = await operator.begin("switch", "gpt2");
  assert.equal(joined.id, first.id);
  assert.equal(queued.state, "queued");
  const cancelled = await operator.cancel(queued);
  assert.deepEqual([cancelled.state, cancelled.error?.code], ["cancelled", "operation_cancelled"]);
  assert.equal((await operator.end(first)).state, "done");
  assert.equal((await operator.end(last)).state, "done");
  assert.deepEqual(await operator.states(), { gpt2: "ready active", llama: "ready", qwen2: "available" });
});

test("a switch that is called off while it loads leaves no runner behind", async () => {
  await using service = await startService(["gpt2", "llama"]);
  const operator = new Operator(service.url);
  const operation = await operator.begin("switch", "llama");
  await until(async () => (await operator.states())["llama"] === "loading");
  await operator.cancel(operation);
  assert.equal((await operator.end(operation)).state, "cancelled");
  await until(async () => (await operator.states())["llama"] === "available");
  assert.equal(runnersOf(process.pid).length, 1);
  assert.equal((await operator.states())["gpt2"], "ready active");
});

test("a load that nobody waits for any more is stopped", async () => {
  await using service = await startService(["gpt2", "llama"]);
  const client = new AbortController();
  const answer = fetch(`${service.url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model: "llama", prompt: "Hello", max_tokens: 1 }),
    signal: client.signal,
  });
  const operator = new Operator(service.url);
  await until(async () => (await operator.states())["llama"] === "loading");
  client.abort();
  await assert.rejects(answer);
  await until(async () => (await operator.states())["llama"] === "available");
  assert.equal(runnersOf(process.pid).length, 1);
});

test("a model is loaded and unloaded on request, once its answers have ended (CVE-2026-43631)", async () => {
  await using service = await startService(["gpt2", "llama"]);
  const operator = new Operator(service.url);
  assert.equal((await operator.run("load", "llama")).state, "done");
  assert.deepEqual(await operator.states(), { gpt2: "ready active", llama: "ready" });
  using client = await StreamClient.connect(service.url);
  const answer = new Answer("last");
  client.send({ type: "generate", ...greedy("last", 300), model: "llama" });
  answer.apply(await client.takeWhere((message) => "first" in message));
  const unload = await operator.begin("unload", "llama");
  assert.equal((await client.readTo(answer)).timings.interruptions, 0);
  assert.equal((await operator.end(unload)).state, "done");
  assert.equal((await operator.states())["llama"], "available");
  assert.equal((await operator.run("unload", "gpt2")).state, "done");
  assert.equal((await operator.states())["gpt2"], "available active");
  assert.equal((await client.generate(greedy("again", 2))).done.finish_reason, "length");
});

test("a pinned model stays, a preloaded one is there from the start, an idle one goes", async () => {
  await using service = await startService(["gpt2", "gemma2", "llama"], {
    pinned: "gpt2",
    preload: "gemma2",
    idleUnloadSeconds: 1,
  });
  const operator = new Operator(service.url);
  await until(async () => (await operator.states())["gemma2"] === "ready");
  await until(async () => (await operator.states())["gemma2"] === "available");
  assert.deepEqual(await operator.states(), { gpt2: "ready active", gemma2: "available", llama: "available" });
});

test("a name that there is not among those to pin or preload ends the start", async () => {
  await assert.rejects(startService(["gpt2"], { pinned: "gtp2" }), { code: "model_not_found", message: /gtp2.*gpt2/ });
});

test("a runner that stands by takes the next model", async () => {
  await using service = await startService(["gpt2", "gemma2"], { warmSpare: "on" });
  await until(() => runnersOf(process.pid).length === 2);
  const before = runnersOf(process.pid);
  const operator = new Operator(service.url);
  await operator.run("switch", "gemma2");
  await until(() => runnersOf(process.pid).length === 3);
  assert.ok(before.every((pid) => runnersOf(process.pid).includes(pid)));
});

describe("a runner that stands by and is killed", () => {
  /** The one that has no model's file mapped, when there are two and one of them has. */
  async function spareOf(pid: number): Promise<number> {
    const spares: number[] = [];
    await until(async () => {
      const runners = await Promise.all(runnersOf(pid).map(async (runner) => ({ runner, ...(await residentMemory(runner)) })));
      spares.splice(0, Infinity, ...runners.flatMap(({ runner, mapped }) => (mapped === 0 ? runner : [])));
      return runners.length === 2 && spares.length === 1;
    });
    return spares[0] ?? assert.fail();
  }

  for (const moment of ["has another one take its place", "just when a switch begins is done without"] as const) {
    test(`${moment}: no answer is disturbed, and the switch works`, async () => {
      await using service = await startService(["llama", "gpt2"], withSpare);
      using client = await StreamClient.connect(service.url);
      const operator = new Operator(service.url);
      await operator.plan("gpt2");
      const answer = new Answer("running");
      client.send({ type: "generate", ...greedy("running", 500) });
      answer.apply(await client.takeWhere(isFrame));
      const spare = await spareOf(process.pid);
      process.kill(spare, "SIGKILL");
      if (moment === "has another one take its place") assert.notEqual(await spareOf(process.pid), spare);
      assert.equal((await operator.run("switch", "gpt2")).state, "done");
      const done = await client.readTo(answer);
      assert.deepEqual([answer.tokens, done.timings.interruptions], [500, 0]);
      assert.deepEqual(await operator.states(), { gpt2: "ready active", llama: "ready" });
      assert.equal((await client.generate(greedy("after", 2))).done.finish_reason, "length");
      await until(() => runnersOf(process.pid).length === 3);
    });
  }
});

test("an operation that there is not is not found", async () => {
  await using service = await startService(["gpt2"]);
  const response = await fetch(`${service.url}/api/operations/op-none`);
  assert.equal(response.status, 404);
});

/** A server with models of the given families, and one that cannot be loaded. */
async function serveWithHostile(
  context: TestContext,
  families: readonly Family[],
  kind: HostileKind,
  flags: Readonly<Record<string, unknown>>,
) {
  const paths = await Promise.all(families.map(async (family) => [family, await tinyModel(family)] as const));
  const folder = await modelsFolder(Object.fromEntries(paths));
  const hostile = await mkdtemp(join(tmpdir(), "llamapod-hostile-"));
  context.after(() => rm(hostile, { recursive: true }));
  await symlink(await hostileFile(kind, hostile), join(folder, "hostile.gguf"));
  return serveFolder(folder, { model: families[0], ...flags });
}
