import assert from "node:assert/strict";
import { test } from "node:test";
import type { PoolSettings } from "../../src/models/pool.ts";
import { parseMetrics, sample } from "../support/metrics.ts";
import { mebibyte, PoolWorld } from "./pool-world.ts";

/** A machine with plenty of main memory, and a GPU that is none, of 6 MiB, on which all models are. */
async function withGpu(models: Readonly<Record<string, number>>, settings: Partial<PoolSettings> = {}): Promise<PoolWorld> {
  const world = new PoolWorld(models, settings);
  world.videoMemory = 6 * mebibyte;
  await world.estimateAll();
  return world;
}

test("a model that fits beside the others on the GPU disturbs none of them", async () => {
  using world = await withGpu({ a: 4, c: 2 });
  await world.serve("a");
  world.ask("c");
  await world.ready("c");
  assert.deepEqual(world.states, { a: "ready", c: "ready" });
});

test("a model that does not fit beside the others on the GPU takes their place", async () => {
  using world = await withGpu({ a: 4, b: 4 });
  const a = await world.serve("a");
  const { forecast } = await world.pool.forecast(world.entry("b"));
  assert.deepEqual(forecast, { outcome: "evicts", victims: ["a"] });
  const operation = world.pool.switchTo(world.entry("b"));
  await world.flush();
  assert.deepEqual(world.states, { a: "draining" });
  a.leave();
  await world.ready("b");
  assert.equal(operation.status.state, "done");
});

test("a model that is larger than the GPU is refused, with what is missing there", async () => {
  using world = await withGpu({ a: 4, b: 9 });
  await world.serve("a");
  const { forecast } = await world.pool.forecast(world.entry("b"));
  assert.deepEqual(forecast, { outcome: "short", missing: { ram: 0, vram: 3 * mebibyte } });
  const { error } = world.pool.switchTo(world.entry("b")).status;
  assert.equal(error?.code, "insufficient_memory");
  assert.match(error.message, /short by 3 MiB of GPU memory,/);
  assert.deepEqual(world.states, { a: "ready" });
});

test("what another program takes of the GPU, or gives back, counts from the next look on", async () => {
  using world = await withGpu({ a: 2, b: 4 });
  const a = await world.serve("a");
  const forecastOfB = async () => (await world.pool.forecast(world.entry("b"))).forecast;
  assert.deepEqual(await forecastOfB(), { outcome: "beside" });
  world.foreignVideoMemory = 1 * mebibyte;
  a.look();
  assert.deepEqual(await forecastOfB(), { outcome: "evicts", victims: ["a"] });
  world.foreignVideoMemory = 0;
  a.look();
  assert.deepEqual(await forecastOfB(), { outcome: "beside" });
});

test("a look while a model is loaded, whose part is neither free nor known to be held, changes nothing", async () => {
  using world = await withGpu({ a: 2, b: 4 });
  const a = await world.serve("a");
  world.ask("b");
  const b = await world.runner("b");
  b.beginLoading();
  world.foreignVideoMemory = 4 * mebibyte;
  a.look();
  assert.equal((await world.pool.forecast(world.entry("a"))).capacity.vram, 6 * mebibyte);
});

test("the metrics tell how many GPUs there are, and what is free on them, from one look to the next", async () => {
  using world = await withGpu({ a: 2, b: 4 }, { gpuMemoryReserve: mebibyte / 2 });
  const a = await world.serve("a");
  world.ask("b");
  (await world.runner("b")).beginLoading();
  world.gpus = 2;
  world.foreignVideoMemory = mebibyte;
  a.look();
  const scraped = parseMetrics((await world.metrics.scrape("plain")).text);
  assert.equal(sample(scraped, "llamapod_gpus"), 2);
  assert.equal(sample(scraped, "llamapod_gpu_memory_free_bytes"), 3 * mebibyte);
});

test("a part of each GPU stays free", async () => {
  using world = await withGpu({ a: 4, b: 2 }, { gpuMemoryReserve: mebibyte / 2 });
  const a = await world.serve("a");
  world.gpus = 2;
  a.look();
  const { forecast, capacity } = await world.pool.forecast(world.entry("b"));
  assert.equal(capacity.vram, 5 * mebibyte);
  assert.deepEqual(forecast, { outcome: "evicts", victims: ["a"] });
});

/** Of a CUDA context, and of what the pool takes it for. */
const contextBytes = 384 * mebibyte;

async function withContexts(models: Readonly<Record<string, number>>): Promise<PoolWorld> {
  const world = new PoolWorld(models, { warmSpare: "on", gpuMemoryReserve: contextBytes });
  world.videoMemory = 2_000 * mebibyte;
  world.gpus = 1;
  world.contextBytes = contextBytes;
  await world.estimateAll();
  return world;
}

test("what a spare takes of the GPU is free for a model", async () => {
  using world = await withContexts({ a: 1_000 });
  const a = await world.serve("a");
  const capacity = async () => (await world.pool.forecast(world.entry("a"))).capacity.vram;
  a.look();
  const without = await capacity();
  const [spare] = world.spares;
  assert.equal(spare?.state.name, "starting");
  spare.prepare();
  a.look();
  assert.equal(await capacity(), without);
  assert.equal(without, 2_000 * mebibyte - 2 * contextBytes);
});

for (const { size, spares } of [
  { size: 800, spares: 1 },
  { size: 1_000, spares: 0 },
]) {
  test(`beside a model of ${size} MiB of 2,000 there is room for ${spares} spares, however often that is looked at`, async () => {
    using world = await withContexts({ a: size });
    const a = await world.serve("a");
    const started = new Set<unknown>();
    for (let beats = 0; beats < 20; beats++) {
      for (const spare of world.spares) spare.prepare();
      a.look();
      const job = world.ask("a");
      a.produce(job);
      a.end(job);
      await world.flush();
      for (const spare of world.spares) started.add(spare);
    }
    assert.equal(world.spares.length, spares);
    assert.ok(started.size <= 1, `${started.size} were started`);
  });
}
