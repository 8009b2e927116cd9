import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMetrics, sample } from "../support/metrics.ts";
import { PoolWorld } from "./pool-world.ts";

test("the time for which an answer is parked is none of its decoding", async () => {
  using world = new PoolWorld({ a: 1, b: 1 }, { maxResident: 1, minResidencySeconds: 0, parkAfterSeconds: 0 });
  await world.estimateAll();
  const first = await world.serve("a");
  const parked = world.ask("a");
  await world.pass(50);
  first.produce(parked);
  for (let token = 0; token < 10; token++) {
    await world.pass(20);
    first.produce(parked);
  }
  const other = world.ask("b");
  await world.pass(5_000);
  assert.equal(first.state.name, "draining");
  first.leave();
  const b = await world.ready("b");
  await world.pass(300_000);
  world.end(other);
  await world.flush();
  b.leave();
  const second = await world.ready("a");
  await world.pass(500);
  second.produce(parked);
  await world.pass(20);
  world.end(parked);
  const measured = await ofModel(world, "a");
  assert.equal(measured("request_decode_seconds_sum"), 0.22);
  assert.equal(measured("time_per_output_token_seconds_sum"), 0.02);
  assert.equal(measured("request_prefill_seconds_sum"), 0);
});

test("the time until a prompt is read again by another runner is none of its reading", async () => {
  using world = new PoolWorld({ a: 1 });
  const first = await world.serve("a");
  const job = world.ask("a");
  first.produce(job, 0);
  await world.pass(100);
  first.die();
  await world.pass(60_000);
  const second = await world.ready("a");
  await world.pass(30);
  second.produce(job);
  assert.equal((await ofModel(world, "a"))("request_prefill_seconds_sum"), 0.13);
});

test("whoever cancels while the model is loaded has waited for the load, and otherwise for a slot", async () => {
  using world = new PoolWorld({ a: 1, b: 1 });
  await world.serve("a");
  world.ask("a");
  for (const [model, phase] of [
    ["b", "load"],
    ["a", "queued"],
  ] as const) {
    const waiting = world.ask(model);
    await world.flush();
    world.pool.cancel(waiting);
    const scraped = parseMetrics((await world.metrics.scrape("plain")).text);
    assert.equal(sample(scraped, "llamapod_cancel_latency_seconds_count", { phase }), 1, phase);
  }
});

async function ofModel(world: PoolWorld, model: string): Promise<(name: string) => number> {
  const scraped = parseMetrics((await world.metrics.scrape("plain")).text);
  // What is summed up of thousandths is not exact.
  return (name) => Number(sample(scraped, `llamapod_${name}`, { model }).toFixed(6));
}
