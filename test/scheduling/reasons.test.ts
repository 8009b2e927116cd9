import assert from "node:assert/strict";
import { test } from "node:test";
import { mebibyte, PoolWorld } from "./pool-world.ts";

test("who waits for room, for a load and for a slot is told so", async () => {
  using world = new PoolWorld({ a: 4, b: 4, c: 1 }, { memoryBudget: 6 * mebibyte });
  await world.estimateAll();
  await world.serve("a");
  world.ask("a");
  const jobs = ["b", "c", "a"].map((model) => world.ask(model));
  assert.deepEqual(reasons(world, jobs), ["memory", "loading", "slot"]);
});

test("who waits for room is told so while another model loads in it, and while the own one leaves", async () => {
  using world = new PoolWorld({ a: 1, b: 1 }, { maxResident: 1 });
  await world.estimateAll();
  const a = await world.serve("a");
  world.pool.switchTo(world.entry("b"));
  await world.flush();
  const job = world.ask("a");
  assert.deepEqual([world.states, reasons(world, [job])], [{ a: "draining" }, ["memory"]]);
  a.leave();
  (await world.runner("b")).beginLoading();
  assert.deepEqual([world.states, reasons(world, [job])], [{ b: "loading" }, ["memory"]]);
});

test("who waits for a model whose runner has died is told that it is loading, also while it rests", async () => {
  using world = new PoolWorld({ a: 1, b: 1 });
  await world.estimateAll();
  await world.serve("b");
  world.ask("a");
  const job = world.ask("a");
  for (let deaths = 0; deaths < 2; deaths++) {
    const runner = await world.ready("a");
    runner.die();
    await world.pass(1);
  }
  assert.deepEqual([world.states, reasons(world, [job])], [{ b: "ready" }, ["loading"]]);
});

function reasons(world: PoolWorld, jobs: readonly string[]): unknown[] {
  return jobs.map((job) => world.fates.get(job)?.waitsFor);
}
