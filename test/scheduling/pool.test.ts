import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { mebibyte, PoolWorld } from "./pool-world.ts";

test("a model that is unloaded goes as soon as it does not work, and comes back for whoever waits", async () => {
  using world = new PoolWorld({ a: 1 });
  const first = await world.serve("a");
  const [running, waiting] = [world.ask("a"), world.ask("a")];
  const operation = world.pool.unload(world.entry("a"));
  world.end(running);
  first.leave();
  assert.equal(operation.status.state, "done");
  await world.ready("a");
  world.end(waiting);
  assert.deepEqual(world.fates.get(waiting)?.endings, ["finished"]);
});

test("a pinned model that is unloaded stays away until it is asked for", async () => {
  using world = new PoolWorld({ a: 1, b: 1 }, { pinned: ["b"] });
  await world.serve("a");
  const pinned = await world.ready("b");
  world.pool.unload(world.entry("b"));
  pinned.leave();
  await world.flush();
  assert.deepEqual(world.states, { a: "ready" });
  world.ask("b");
  await world.runner("b");
});

test("to ask for a model that is being unloaded calls the unloading off", async () => {
  using world = new PoolWorld({ a: 1 });
  await world.serve("a");
  const running = world.ask("a");
  const unload = world.pool.unload(world.entry("a"));
  const load = world.pool.load(world.entry("a"));
  world.end(running);
  await world.flush();
  assert.deepEqual([unload.status.state, load.status.state, world.states], ["cancelled", "done", { a: "ready" }]);
});

test("answers whose runner has died are taken up one after the other, each when the one before has proved well", async () => {
  using world = new PoolWorld({ a: 1 }, { slots: 4 });
  const first = await world.serve("a");
  const jobs = [world.ask("a"), world.ask("a"), world.ask("a")];
  first.die();
  await world.pass(1);
  const second = await world.ready("a");
  const late = world.ask("a");
  assert.deepEqual([...second.running.keys()], jobs.slice(0, 1));
  second.produce(jobs[0] ?? "", 50);
  assert.deepEqual([...second.running.keys()], jobs.slice(0, 2));
  second.end(jobs[1] ?? "");
  second.produce(jobs[2] ?? "", 50);
  assert.deepEqual([...second.running.keys()], [jobs[0], jobs[2], late]);
});

test("of several answers only the one that kills its runner alone is blamed", async () => {
  using world = new PoolWorld({ a: 1 }, { slots: 4 });
  await world.serve("a");
  const jobs = Array.from({ length: 4 }, () => world.ask("a"));
  const poison = jobs[2] ?? "";
  for (let deaths = 0; world.failures[poison] === undefined; deaths++) {
    assert.ok(deaths < 5, "nobody is blamed");
    const [runner] = world.runnersOf("a");
    while (runner?.running.has(poison) === false) {
      const [unproven] = [...runner.running.keys()].slice(-1);
      runner.produce(unproven ?? "", 50);
    }
    runner?.die();
    await world.pass(20_000);
    await world.ready("a");
  }
  for (const job of jobs) {
    if (job === poison) continue;
    while (world.workerOf(job) === undefined) {
      const [runner] = world.runnersOf("a");
      const [unproven] = [...(runner?.running.keys() ?? [])].slice(-1);
      runner?.produce(unproven ?? "", 50);
    }
    world.end(job);
  }
  assert.deepEqual(world.failures, { [poison]: "runner_crashed" });
});

test("two kills beside innocents: nobody who did not run alone is blamed", async () => {
  using world = new PoolWorld({ a: 1 }, { slots: 4 });
  const first = await world.serve("a");
  const jobs = Array.from({ length: 4 }, () => world.ask("a"));
  first.die();
  await world.pass(1);
  const second = await world.ready("a");
  for (const job of jobs) second.produce(job, 50);
  assert.equal(second.running.size, 4);
  second.die();
  await world.pass(1);
  await world.pass(20_000);
  await world.ready("a");
  assert.deepEqual(world.failures, {});
});

test("a runner that dies while it serves, however often, fails nobody who waits", async () => {
  using world = new PoolWorld({ a: 1 });
  await world.serve("a");
  const jobs = Array.from({ length: 5 }, () => world.ask("a"));
  for (let deaths = 0; deaths < 4; deaths++) {
    const [runner] = world.runnersOf("a");
    assert.ok(runner?.state.name === "ready");
    runner.die();
    await world.pass(60_000);
    await world.ready("a");
  }
  // Two deaths under each of the first two, alone.
  assert.deepEqual(world.failures, { [jobs[0] ?? ""]: "runner_crashed", [jobs[1] ?? ""]: "runner_crashed" });
});

test("three failed starts in a row fail who waits, and a start in between that succeeds breaks the row", async () => {
  using world = new PoolWorld({ a: 1 });
  world.pool.open(world.entry("a"));
  const job = world.ask("a");
  for (let failures = 0; failures < 2; failures++) {
    const loading = await world.runner("a");
    loading.beginLoading();
    loading.die();
    await world.pass(10_000);
  }
  const serving = await world.ready("a");
  serving.produce(job);
  serving.die();
  await world.pass(10_000);
  assert.deepEqual(world.failures, {});
  for (let failures = 0; failures < 3; failures++) {
    const loading = await world.runner("a");
    loading.beginLoading();
    loading.die();
    await world.pass(10_000);
  }
  assert.deepEqual(world.failures, { [job]: "model_load_failed" });
});

test("a model that fails to load rests twice as long each time, a minute at most; it is failed with the cause, and others work on", async () => {
  using world = new PoolWorld({ a: 1, b: 1 });
  world.pool.open(world.entry("a"));
  const doomed = world.ask("a");
  const stepMs = 100;
  const rests: number[] = [];
  for (let failures = 0; failures < 10; failures++) {
    const loading = await world.runner("a");
    loading.beginLoading();
    loading.die();
    await world.flush();
    const diedAt = world.now;
    if (failures === 2) {
      const { state, reason } = world.pool.models.find(({ id }) => id === "a") ?? {};
      assert.equal(state, "failed");
      assert.match(reason ?? "", /it was killed/);
      const [error] = world.fates.get(doomed)?.endings ?? [];
      assert.ok(error !== undefined && error !== "finished");
      assert.deepEqual([error.code, error.message, error.retryAfterMs], ["model_load_failed", reason, 2_000]);
      const other = world.ask("b");
      await world.ready("b");
      world.end(other);
    }
    while (world.runnersOf("a").length === 0) await world.pass(failures === 0 ? 1 : stepMs);
    rests.push(world.now - diedAt);
  }
  assert.deepEqual(world.failures, { [doomed]: "model_load_failed" });
  assert.ok([...world.fates.values()].some(({ model, endings }) => model === "b" && endings[0] === "finished"));
  assert.deepEqual(rests, [1, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
});

test("one decision that changes what others were based on starts no model twice", async () => {
  using world = new PoolWorld({ z: 4, a: 4, y: 4, b: 4 }, { memoryBudget: 8 * 2 ** 20, minResidencySeconds: 1 });
  await world.estimateAll();
  await world.serve("z");
  const [ofZ, ofA] = [world.ask("z"), world.ask("a")];
  const a = await world.ready("a");
  await world.pass(1_100);
  world.end(ofA);
  world.end(ofZ);
  world.ask("y");
  world.ask("b");
  await world.flush();
  for (const runner of world.runners) if (runner.state.name === "draining") runner.leave();
  await world.flush();
  assert.equal(a.isThere, false);
  await world.runner("y");
  await world.runner("b");
});

test("a model that falls idle while another one is asked for: each has one runner", async () => {
  using world = new PoolWorld({ a: 4, x: 4 }, { idleUnloadSeconds: 1 });
  await world.estimateAll();
  await world.serve("a");
  world.drift(1_050);
  world.ask("x");
  await world.flush();
  await world.runner("x");
});

test("a third model gets its turn between two that park each other for ever", async () => {
  using world = new PoolWorld({ a: 4, b: 4, c: 4 }, { memoryBudget: 6 * 2 ** 20 });
  await world.estimateAll();
  await world.serve("a");
  world.ask("a");
  world.ask("b");
  const askedAt = world.now;
  let job: string | undefined;
  const startedAt = () => (job === undefined ? undefined : world.fates.get(job)?.startedAt);
  const [turnMs, loadMs] = [5_000 + 3_000, 1_000];
  for (let second = 0; startedAt() === undefined && second < 300; second++) {
    await world.pass(loadMs);
    for (const runner of world.runners) {
      if (!runner.isThere) continue;
      if (runner.state.name === "ready") for (const id of runner.running.keys()) runner.produce(id);
      else if (runner.state.name === "draining") runner.leave();
      else runner.becomeReady();
    }
    job ??= second === 20 ? world.ask("c") : undefined;
  }
  const waited = (startedAt() ?? Infinity) - askedAt - 20 * loadMs;
  assert.ok(waited <= 3 * (turnMs + 3 * loadMs), `the third model has waited for ${waited} ms`);
});

test("a model makes room between two requests of somebody who comes straight back only when nothing comes", async () => {
  using world = new PoolWorld({ a: 4, b: 4 }, { memoryBudget: 6 * mebibyte });
  await world.estimateAll();
  await world.serve("a");
  world.end(world.ask("a"));
  await world.pass(5);
  const second = world.ask("a");
  world.ask("b");
  world.end(second);
  await world.pass(50);
  const third = world.ask("a");
  assert.notEqual(world.workerOf(third), undefined);
  world.end(third);
  assert.deepEqual(world.states, { a: "ready" });
  await world.pass(101);
  assert.deepEqual(world.states, { a: "draining" });
});

test("a model whose clients take their time makes room as soon as they are answered", async () => {
  using world = new PoolWorld({ a: 4, b: 4 }, { memoryBudget: 6 * mebibyte });
  await world.estimateAll();
  await world.serve("a");
  world.end(world.ask("a"));
  await world.pass(1_000);
  const second = world.ask("a");
  world.ask("b");
  world.end(second);
  assert.deepEqual(world.states, { a: "draining" });
});

test("a model with work stays as long as it took to load", async () => {
  using world = new PoolWorld({ a: 4, b: 4 }, { memoryBudget: 6 * mebibyte, minResidencySeconds: 1, slots: 2 });
  await world.estimateAll();
  world.pool.open(world.entry("a"));
  await world.runner("a");
  await world.pass(20_000);
  await world.ready("a");
  world.ask("a");
  world.ask("b");
  await world.pass(19_000);
  assert.notEqual(world.workerOf(world.ask("a")), undefined);
  await world.pass(1_001);
  assert.equal(world.workerOf(world.ask("a")), undefined, "it has been given more although its time is over");
});

test("a switch that is called off while it loads leaves nothing behind", async () => {
  using world = new PoolWorld({ a: 1, b: 1 }, { maxResident: 1 });
  await world.estimateAll();
  const old = await world.serve("a");
  const operation = world.pool.switchTo(world.entry("b"));
  old.leave();
  const loading = await world.runner("b");
  loading.beginLoading();
  const job = world.ask();
  assert.equal(world.fates.get(job)?.model, "b");
  operation.cancel();
  await world.flush();
  assert.deepEqual([operation.status.state, world.fates.get(job)?.model, loading.state.name], ["cancelled", "a", "draining"]);
  loading.leave();
  await world.ready("a");
  world.end(job);
  assert.deepEqual(world.states, { a: "ready" });
});

test("models to preload and to pin may be named by alias, in capitals", async () => {
  using world = new PoolWorld({ qwen: { size: 1, aliases: ["q"] }, llama: 1, b: 1 }, { preload: ["Q"], pinned: ["LLAMA"] });
  await world.serve("b");
  for (const id of ["llama", "qwen"]) await world.ready(id);
  const estimates = world.runners.flatMap((runner) => runner.estimates);
  assert.equal(new Set(estimates).size, estimates.length, "a model is estimated again and again");
  assert.deepEqual(world.states, { b: "ready", llama: "ready", qwen: "ready" });
});

test("Retry-After is what the queue takes, not what waiting in it has taken", async () => {
  using world = new PoolWorld({ a: 1 }, { maxQueue: 20 });
  await world.serve("a");
  for (let asked = 0; asked < 21; asked++) world.ask("a");
  for (let served = 0; served < 60; served++) {
    await world.pass(100);
    const [runner] = world.runnersOf("a");
    const [job] = runner?.running.keys() ?? [];
    world.end(job ?? "");
    world.ask("a");
  }
  assert.throws(
    () => world.ask("a"),
    (error: { retryAfterMs: number }) => error.retryAfterMs >= 1_000 && error.retryAfterMs <= 3_000,
  );
});

test("requests that are refused at once do not shorten Retry-After", async () => {
  using world = new PoolWorld({ a: 1 }, { maxQueue: 20 });
  const runner = await world.serve("a");
  for (let asked = 0; asked < 21; asked++) world.ask("a");
  for (let refused = 0; refused < 20; refused++) {
    runner.fail([...runner.running.keys()][0] ?? "");
    world.ask("a");
  }
  assert.throws(
    () => world.ask("a"),
    (error: { retryAfterMs: number }) => error.retryAfterMs === 100_000,
  );
});

test("Retry-After knows that models which do not fit together take turns, and have to be loaded for them", async () => {
  using world = new PoolWorld({ a: 1, b: 1 }, { maxResident: 1, maxQueue: 20 });
  await world.estimateAll();
  const a = await world.serve("a");
  world.pool.switchTo(world.entry("b"));
  await world.flush();
  a.leave();
  await world.runner("b");
  await world.pass(7_000);
  const b = await world.ready("b");
  b.produce(world.ask("b"));
  for (let asked = 0; asked < 10; asked++) world.ask("b");
  for (let asked = 0; asked < 10; asked++) world.ask("a");
  const full = (retryAfterMs: number) => (error: { retryAfterMs: number }) => error.retryAfterMs === retryAfterMs;
  // Ten of b, and then the load of a, which takes no time here, and ten of it.
  assert.throws(() => world.ask("a"), full(100_000));
  for (let seconds = 0; seconds < 20; seconds++) await world.pass(1_000);
  b.leave();
  const again = await world.ready("a");
  assert.equal(again.running.size, 1);
  // Nine of a, and then eleven of b, one of them parked, after its load.
  assert.throws(() => world.ask("a"), full(45_000 + 7_000 + 55_000));
});

test("whose share of the queue is used up may come back when the first of its requests begins", async () => {
  using world = new PoolWorld({ a: 1 }, { maxQueue: 20, maxQueuePerClient: 5 });
  await world.serve("a");
  world.ask("a", "other");
  for (let asked = 0; asked < 2; asked++) world.ask("a", "other");
  for (let asked = 0; asked < 5; asked++) world.ask("a", "greedy");
  // It has its turn before the other's next one, who is at work already.
  assert.throws(
    () => world.ask("a", "greedy"),
    (error: { code: string; retryAfterMs: number }) => error.code === "queue_share_exceeded" && error.retryAfterMs === 5_000,
  );
});

test("what fits beside all others is started although somebody before it has to wait for room", async () => {
  using world = new PoolWorld({ a: 4, b: 8, c: 2 }, { memoryBudget: 10 * 2 ** 20 });
  await world.estimateAll();
  await world.serve("a");
  world.ask("a");
  world.ask("b");
  world.ask("c");
  await world.ready("c");
  // There would be no room for b with that one.
  world.add("d", { size: 3 });
  world.ask("d");
  await world.flush();
  await world.flush();
  assert.deepEqual(world.states, { a: "ready", c: "ready" });
});

test("a model that nothing is known of yet does not give the others' room back", async () => {
  using world = new PoolWorld({ a: 4, b: 4, x: 2 }, { memoryBudget: 4 * 2 ** 20, slots: 2 });
  await world.estimateAll();
  const a = await world.serve("a");
  a.produce(world.ask("a"));
  await world.pass(6_000);
  world.ask("b");
  await world.pass(2_000);
  world.hang("2-y");
  world.add("y", { size: 2 });
  const urgent = world.ask("y", "other", 10);
  const extra = world.ask("a");
  await world.flush();
  assert.deepEqual([world.workerOf(urgent), world.workerOf(extra)], [undefined, undefined], "a is open again");
  await world.pass(1_100);
  assert.equal(world.states["a"], "draining");
});

test("a context that is changed in models.yaml is estimated anew", async () => {
  using world = new PoolWorld({ a: 4 });
  await world.pool.forecast(world.entry("a"));
  await world.pool.forecast(world.entry("a"));
  const estimates = () => world.runners.flatMap((runner) => runner.estimates).length;
  assert.equal(estimates(), 1, "what is known is not estimated again");
  world.add("a", { size: 4 }, { contextSize: 50 });
  await world.pool.forecast(world.entry("a"));
  assert.equal(estimates(), 2);
});

test("what a runner keeps of an earlier model is not held to be the new one's", async () => {
  using world = new PoolWorld({ a: 4, b: 4 }, { warmSpare: "on", maxResident: 1 });
  await world.estimateAll();
  const fresh = await world.serve("a");
  world.pool.switchTo(world.entry("b"));
  fresh.leave();
  const b = await world.runner("b");
  b.becomeReady();
  world.pool.switchTo(world.entry("a"));
  b.leave();
  const reused = [fresh, b].find(({ model, isThere }) => model === "a" && isThere);
  assert.ok(reused !== undefined, "a runner is used again");
  reused.becomeReady(100, 98);
  const { needed } = await world.pool.forecast(world.entry("a"));
  assert.equal(needed.ram, 4 * mebibyte);
});

test("what a runner keeps of an estimate is not held to be the model's, what the model takes beyond its estimate is", async () => {
  using world = new PoolWorld({ a: 4, b: 4 }, { warmSpare: "on" });
  await world.estimateAll();
  world.pool.open(world.entry("a"));
  const estimator = await world.runner("a");
  assert.deepEqual(estimator.estimates, ["4-a", "4-b"]);
  estimator.becomeReady(55, 50);
  const { needed } = await world.pool.forecast(world.entry("a"));
  assert.equal(needed.ram, 5 * mebibyte);
});

test("a machine that can start no process fails the start, and is tried again", async () => {
  using world = new PoolWorld({ a: 4 });
  await world.estimateAll();
  world.forkErrors = [new Error("spawn ENOMEM"), new Error("spawn ENOMEM")];
  world.pool.open(world.entry("a"));
  await world.pass(1);
  await world.pass(10_000);
  await world.ready("a");
});

test("a model that takes more than was expected holds it until it has left", async () => {
  using world = new PoolWorld({ a: { size: 4, surplus: 1 }, b: 5 }, { memoryBudget: 9 * mebibyte });
  await world.estimateAll();
  const a = await world.serve("a");
  world.pool.switchTo(world.entry("b"));
  await world.flush();
  assert.deepEqual(world.states, { a: "draining" });
  a.leave();
  await world.ready("b");
});

test("a load takes the place of idle models only", async () => {
  using world = new PoolWorld({ a: 4, b: 4 }, { memoryBudget: 6 * 2 ** 20 });
  await world.estimateAll();
  const old = await world.serve("a");
  const running = world.ask("a");
  const refused = world.pool.load(world.entry("b"));
  assert.deepEqual([refused.status.state, refused.status.error?.code], ["failed", "insufficient_memory"]);
  world.end(running);
  const operation = world.pool.load(world.entry("b"));
  old.leave();
  await world.ready("b");
  assert.deepEqual([operation.status.state, world.states], ["done", { b: "ready" }]);
});

test("the active model is another one when its file is gone", async () => {
  using world = new PoolWorld({ a: 1, b: 1 });
  const runner = await world.serve("a");
  const running = world.ask("a");
  world.remove("a");
  assert.equal(world.pool.activeModel, undefined);
  world.end(running);
  assert.equal(runner.state.name, "draining", "nobody can ask for it any more");
});

test("the active model has its room although what a model to preload takes is known first", async () => {
  using world = new PoolWorld({ a: 4, b: 4, c: 1 }, { memoryBudget: 6 * mebibyte, preload: ["b", "c"] });
  const { release } = world.hang("4-a");
  world.pool.open(world.entry("a"));
  await world.flush();
  assert.deepEqual(world.states, {});
  release();
  await world.ready("a");
  await world.ready("c");
  assert.deepEqual(world.states, { a: "ready", c: "ready" });
});

test("the active model has its room although its first start has failed", async () => {
  using world = new PoolWorld({ a: 4, b: 4 }, { memoryBudget: 6 * mebibyte, preload: ["b"] });
  world.pool.open(world.entry("a"));
  const first = await world.runner("a");
  first.beginLoading();
  first.die();
  await world.flush();
  assert.deepEqual(world.states, {});
  await world.pass(10_000);
  await world.ready("a");
});

test("an active model that is pinned, too, has its room once while it is tried again", async () => {
  using world = new PoolWorld({ a: 4, b: 4 }, { memoryBudget: 8 * mebibyte, pinned: ["a"], preload: ["b"] });
  const { release } = world.hang("4-b");
  world.pool.open(world.entry("a"));
  const first = await world.runner("a");
  first.beginLoading();
  first.die();
  release();
  await world.ready("b");
});

test("a model that was loaded again after its runner had died is as well as before when it makes room", async () => {
  using world = new PoolWorld({ a: 4, b: 4 }, { memoryBudget: 6 * mebibyte });
  await world.estimateAll();
  const first = await world.serve("a");
  first.die();
  await world.pass(1_000);
  await world.ready("a");
  const job = world.ask("b");
  await world.pass(10_000);
  const old = world.runners.find(({ model, isThere }) => model === "a" && isThere);
  old?.leave();
  await world.ready("b");
  world.end(job);
  assert.equal(world.pool.models.find(({ id }) => id === "a")?.state, "available");
});

test("a model whose runner was killed while it had nothing to do can be had again, and is not told to have failed", async () => {
  using world = new PoolWorld({ a: 1, b: 1 });
  await world.estimateAll();
  await world.serve("b");
  world.ask("a");
  const a = await world.ready("a");
  for (const job of [...a.running.keys()]) world.end(job);
  const told: string[] = [];
  world.pool.onModelChange(({ id, state }) => told.push(`${id} ${state}`));
  a.die();
  await world.pass(1);
  assert.equal(told.at(-1), "a available");
  assert.deepEqual(
    world.pool.models.map(({ id, state }) => `${id} ${state}`),
    ["a available", "b ready"],
  );
});

test("a request that names a model leaves the active one as it was", async () => {
  using world = new PoolWorld({ a: 4, b: 4 }, { memoryBudget: 6 * mebibyte });
  await world.estimateAll();
  const a = await world.serve("a");
  const job = world.ask("b");
  await world.pass(5_001);
  a.leave();
  await world.ready("b");
  assert.equal(world.pool.activeModel, "a");
  world.end(job);
  const unnamed = world.ask();
  assert.deepEqual([world.pool.activeModel, world.fates.get(unnamed)?.model], ["a", "a"]);
});

test("an estimate that hangs delays no other", async () => {
  using world = new PoolWorld({ a: 1, b: 1 });
  world.hang("1-a");
  world.pool.open(undefined);
  world.ask("a");
  const job = world.ask("b");
  await world.ready("b");
  world.end(job);
});

test("a runner that dies before it begins to load does not fail the switch", async () => {
  using world = new PoolWorld({ a: 1, b: 1 });
  await world.estimateAll();
  await world.serve("a");
  const operation = world.pool.switchTo(world.entry("b"));
  const first = await world.runner("b");
  first.die();
  await world.pass(1);
  await world.ready("b");
  assert.equal(operation.status.state, "done");
});

test("a switch whose runner is killed while it loads is rolled back", async () => {
  using world = new PoolWorld({ a: 1, b: 1 }, { maxResident: 1, parkAfterSeconds: 0 });
  await world.estimateAll();
  const old = await world.serve("a");
  const running = world.ask();
  old.produce(running);
  const operation = world.pool.switchTo(world.entry("b"));
  old.leave();
  const loading = await world.runner("b");
  loading.beginLoading(0.5);
  const meanwhile = world.ask();
  loading.die();
  await world.pass(1);
  assert.deepEqual([operation.status.state, operation.status.error?.code], ["failed", "model_load_failed"]);
  await world.ready("a");
  world.end(running);
  world.end(meanwhile);
  assert.deepEqual([world.pool.activeModel, world.failures], ["a", {}]);
});

test("a long prompt that has been read is worth a while of answering before it is parked", async () => {
  using world = new PoolWorld({ a: 4, b: 4 }, { memoryBudget: 6 * 2 ** 20 });
  await world.estimateAll();
  const a = await world.serve("a");
  const long = world.ask("a");
  world.ask("b");
  await world.pass(6_000);
  await world.pass(24_000);
  a.produce(long);
  await world.pass(2_000);
  assert.equal(a.state.name, "ready");
  await world.pass(1_500);
  assert.equal(a.state.name, "draining");
});

test("GPU memory that a load has not taken yet is not counted twice", async () => {
  using world = new PoolWorld({ a: 4, b: 4 }, { warmSpare: "on" });
  const free = 100 * 2 ** 20;
  world.videoMemory = free;
  await world.estimateAll();
  world.pool.open(world.entry("a"));
  (await world.runner("a")).beginLoading();
  for (const runner of world.runners) runner.prepare();
  const { capacity } = await world.pool.forecast(world.entry("b"));
  assert.equal(capacity.vram, free);
});

test("one client cannot take every place in the queue", async () => {
  using world = new PoolWorld({ a: 1 }, { maxQueue: 8, maxQueuePerClient: 6 });
  await world.serve("a");
  for (let asked = 0; asked < 7; asked++) world.ask("a", "greedy");
  assert.throws(() => world.ask("a", "greedy"), { code: "queue_share_exceeded" });
  world.ask("a", "modest");
  world.ask("a", "other");
  assert.throws(() => world.ask("a", "late"), { code: "overloaded" });
});

test("a spare stands by only where there is room for it beside the models", async () => {
  using world = new PoolWorld({ a: 400 }, { warmSpare: "on", memoryBudget: 420 * 2 ** 20 });
  await world.serve("a");
  assert.equal(world.spares.length, 0);
});

test("a spare that is killed is replaced, and the next load has the new one", async () => {
  using world = new PoolWorld({ a: 1, b: 1 }, { warmSpare: "on" });
  await world.estimateAll();
  await world.serve("a");
  const [killed] = world.spares;
  killed?.die();
  await world.flush();
  world.end(world.ask("a"));
  const [spare, ...others] = world.spares;
  assert.ok(killed !== undefined && spare !== undefined && spare !== killed && others.length === 0);
  world.ask("b");
  assert.equal(await world.runner("b"), spare);
});

test("a spare does not stay when a model needs its room", async () => {
  using world = new PoolWorld({ a: { size: 300, surplus: 100 } }, { warmSpare: "on", memoryBudget: 420 * mebibyte });
  world.pool.open(world.entry("a"));
  await world.runner("a");
  assert.equal(world.spares.length, 1);
  await world.ready("a");
  assert.equal(world.spares.length, 0);
});

test("models that take turns in two runners leave nothing behind that waits for the runners' end", async () => {
  using world = new PoolWorld({ a: 4, b: 4 }, { warmSpare: "on", maxResident: 1 });
  await world.estimateAll();
  await world.serve("a");
  const listeners = world.runners.map(({ exited }) => mock.method(exited, "then").mock);
  for (const [from, to] of ["ab", "ba", "ab"]) {
    const operation = world.pool.switchTo(world.entry(to ?? ""));
    (await world.runner(from ?? "")).leave();
    await world.ready(to ?? "");
    assert.equal(operation.status.state, "done");
  }
  assert.deepEqual([world.runners.length, listeners.map((listener) => listener.callCount())], [2, [0, 0]]);
});

test("a load tells how far it has got, in bytes of the file", async () => {
  using world = new PoolWorld({ a: 1, b: 8 });
  await world.estimateAll();
  await world.serve("a");
  const operation = world.pool.switchTo(world.entry("b"));
  const told: number[] = [];
  operation.onChange(({ progress }) => told.push((progress?.doneBytes ?? 0) / 2 ** 20));
  const runner = await world.runner("b");
  for (const progress of [0.25, 0.5]) runner.beginLoading(progress);
  assert.deepEqual(told, [2, 4]);
  assert.equal(world.pool.models.find(({ id }) => id === "b")?.progress, 0.5);
  assert.equal(operation.status.progress?.phase, "loading");
});

test("while the old model drains, it is told what the new one waits for", async () => {
  using world = new PoolWorld({ a: 4, b: 4 }, { memoryBudget: 6 * 2 ** 20 });
  await world.estimateAll();
  await world.serve("a");
  world.ask("a");
  const operation = world.pool.switchTo(world.entry("b"));
  const told = world.pool.models.find(({ id }) => id === "b");
  assert.deepEqual([told?.state, told?.reason], ["starting", "waits for a to make room"]);
  assert.equal(operation.status.progress?.phase, "draining");
});

test("a pool that closes waits for its runners, unless they are killed", async () => {
  using world = new PoolWorld({ a: 1 });
  const runner = await world.serve("a");
  const closed = world.pool.close();
  await world.flush();
  assert.equal(runner.state.name, "draining");
  world.pool.kill();
  await closed;
  assert.equal(runner.state.name, "stopped");
});
