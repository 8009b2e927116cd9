import assert from "node:assert/strict";
import { test } from "node:test";
import { mebibyte, PoolWorld } from "./pool-world.ts";

/** Who makes room when, and who does not have to. */

async function seconds(world: PoolWorld, count: number): Promise<void> {
  for (let second = 0; second < count; second++) await world.pass(1_000);
}

test("a model that nobody has used makes room after the minimum residency, however long it took to load", async () => {
  using world = new PoolWorld({ a: 1, b: 1 }, { maxResident: 1 });
  await world.estimateAll();
  world.pool.open(world.entry("a"));
  await world.runner("a");
  await world.pass(150_000);
  await world.ready("a");
  world.ask("b");
  await world.pass(4_999);
  assert.deepEqual(world.states, { a: "ready" });
  await world.pass(2);
  assert.deepEqual(world.states, { a: "draining" });
});

test("a load takes the place of a model that nobody has used yet at once", async () => {
  using world = new PoolWorld({ a: 1, b: 1 }, { maxResident: 1 });
  await world.estimateAll();
  const a = await world.serve("a");
  const operation = world.pool.load(world.entry("b"));
  await world.flush();
  assert.deepEqual([world.states, operation.status.state], [{ a: "draining" }, "running"]);
  a.leave();
  await world.ready("b");
  assert.equal(operation.status.state, "done");
});

test("a load that somebody waits for, too, has the turn of the request, and parks nobody earlier", async () => {
  using world = new PoolWorld({ a: 1, b: 1 }, { maxResident: 1, minResidencySeconds: 8 });
  await world.estimateAll();
  const a = await world.serve("a");
  world.ask("a");
  world.ask("b");
  const operation = world.pool.load(world.entry("b"));
  await seconds(world, 7);
  assert.notEqual(world.workerOf(world.ask("a")) ?? a.model, undefined);
  // It is still reading its prompt, which a switch would not wait for.
  await seconds(world, 20);
  assert.deepEqual([world.states, operation.status.state], [{ a: "ready" }, "running"]);
  for (const job of [...a.running.keys()]) world.end(job);
  await world.flush();
  a.leave();
  await world.ready("b");
  assert.equal(operation.status.state, "done");
});

test("a load that somebody waits for, too, does not go before those who have waited longer", async () => {
  using world = new PoolWorld({ a: 1, b: 1, c: 1 }, { maxResident: 1 });
  await world.estimateAll();
  const a = await world.serve("a");
  const job = world.ask("a");
  a.produce(job);
  world.ask("c");
  await world.pass(100);
  world.ask("b");
  world.pool.load(world.entry("b"));
  await seconds(world, 10);
  a.leave();
  await world.flush();
  assert.deepEqual(world.states, { c: "starting" });
});

test("what fits beside all others is started while another model still loads", async () => {
  using world = new PoolWorld({ a: 4, b: 8, c: 2 }, { memoryBudget: 10 * mebibyte });
  await world.estimateAll();
  world.pool.open(world.entry("a"));
  const a = await world.runner("a");
  a.beginLoading();
  world.ask("b");
  world.ask("c");
  await world.runner("c");
  assert.deepEqual(world.states, { a: "loading", c: "starting" });
});

test("a switch that is called off gives the old model the rest of its time", async () => {
  using world = new PoolWorld({ a: 1, b: 1, c: 1 }, { maxResident: 1, minResidencySeconds: 10 });
  await world.estimateAll();
  const a = await world.serve("a");
  const job = world.ask("a");
  a.produce(job);
  world.ask("c");
  await seconds(world, 1);
  const operation = world.pool.switchTo(world.entry("b"));
  await seconds(world, 1);
  operation.cancel();
  await seconds(world, 7);
  assert.deepEqual(world.states, { a: "ready" });
  // Its ten seconds, and three in which what runs may end.
  await seconds(world, 5);
  assert.deepEqual(world.states, { a: "draining" });
});

test("a model that is unloaded while it loads is not loaded to the end, and once more for whoever waits", async () => {
  using world = new PoolWorld({ a: 1, b: 1 });
  await world.estimateAll();
  await world.serve("b");
  const job = world.ask("a");
  const first = await world.runner("a");
  first.beginLoading();
  const operation = world.pool.unload(world.entry("a"));
  await world.flush();
  assert.equal(first.state.name, "draining");
  first.leave();
  assert.equal(operation.status.state, "done");
  await world.ready("a");
  world.end(job);
  assert.deepEqual(world.failures, {});
});

test("a model that is unloaded while the operator's own load of it goes on stays away, and the load is called off", async () => {
  using world = new PoolWorld({ a: 1, b: 1 });
  await world.estimateAll();
  await world.serve("b");
  for (const begin of ["load", "switchTo"] as const) {
    const wish = world.pool[begin](world.entry("a"));
    const runner = await world.runner("a");
    runner.beginLoading();
    const unload = world.pool.unload(world.entry("a"));
    await world.flush();
    runner.leave();
    await world.flush();
    assert.deepEqual([wish.status.state, unload.status.state, world.states], ["cancelled", "done", { b: "ready" }]);
  }
});

/** An answer of `a` has begun and was parked for `b`, and there is no room for `a` to come back. */
async function runShort(world: PoolWorld) {
  world.videoMemory = 6 * mebibyte;
  await world.estimateAll();
  const a = await world.serve("a");
  const begun = world.ask("a");
  a.produce(begun);
  world.pool.switchTo(world.entry("b"));
  await seconds(world, 4);
  a.leave();
  const b = await world.ready("b");
  world.foreignVideoMemory = 4 * mebibyte;
  b.look();
  return { b, begun };
}

test("a moment without memory ends no answer that has begun: it goes on when there is some again", async () => {
  using world = new PoolWorld({ a: 4, b: 1 }, { maxResident: 1 });
  const { b, begun } = await runShort(world);
  const late = world.ask("a");
  await seconds(world, 6);
  assert.deepEqual(world.failures, { [late]: "insufficient_memory" });
  world.foreignVideoMemory = 0;
  b.look();
  await seconds(world, 10);
  b.leave();
  await world.ready("a");
  world.end(begun);
  assert.deepEqual(world.failures, { [late]: "insufficient_memory" });
});

test("where memory does not come back for a minute, an answer that has begun fails, and says what is missing", async () => {
  using world = new PoolWorld({ a: 4, b: 1 }, { maxResident: 1 });
  const { begun } = await runShort(world);
  await seconds(world, 50);
  assert.deepEqual(world.failures, {});
  await seconds(world, 30);
  assert.deepEqual(world.failures, { [begun]: "insufficient_memory" });
});

test("of each model that is known it is told whether there is room for it", async () => {
  using world = new PoolWorld({ a: 4, b: 4, c: 9 }, { memoryBudget: 6 * mebibyte });
  assert.deepEqual([...world.pool.fitting], []);
  await world.estimateAll();
  await world.serve("a");
  assert.deepEqual(Object.fromEntries(world.pool.fitting), { a: true, b: true, c: false });
});
