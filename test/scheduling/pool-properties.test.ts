import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Operation } from "../../src/models/operations.ts";
import { publicState } from "../../src/models/model-status.ts";
import { LlamapodError } from "../../src/protocol/errors.ts";
import type { FakeRunner } from "./fake-runner.ts";
import { mebibyte, PoolWorld } from "./pool-world.ts";

/** In mebibytes: half of what a spare takes. */
const unit = 32;

/** Some take more than they are expected to. */
const models = {
  a: { size: 4 * unit, surplus: 3 * unit },
  b: 3 * unit,
  c: { size: 2 * unit, surplus: 2 * unit },
  d: 9 * unit,
};
const modelId = fc.constantFrom(...Object.keys(models));
/** Chooses among what there is at the time. */
const which = fc.nat({ max: 1_000 });

const happening = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant("ask" as const),
      model: fc.option(modelId, { nil: undefined }),
      client: fc.constantFrom("x", "y", "z"),
      priority: fc.integer({ min: -10, max: 10 }),
    }),
  },
  { weight: 6, arbitrary: fc.record({ type: fc.constantFrom("end" as const, "produce" as const), which }) },
  { weight: 8, arbitrary: fc.record({ type: fc.constant("progress" as const), which }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constantFrom("crash" as const, "refuse" as const, "kill-spare" as const), which }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constantFrom("switch" as const, "load" as const, "unload" as const), modelId }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constantFrom("cancel" as const, "call-off" as const), which }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("wait" as const), ms: fc.nat({ max: 8_000 }) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("drift" as const), ms: fc.nat({ max: 8_000 }) }) },
);

const settings = fc.record({
  memoryBudget: fc.integer({ min: 4, max: 12 }).map((size) => size * unit * mebibyte),
  maxResident: fc.integer({ min: 1, max: 3 }),
  slots: fc.integer({ min: 1, max: 3 }),
  idleUnloadSeconds: fc.constantFrom(0, 2),
  parkAfterSeconds: fc.constantFrom(0, 3),
  maxQueue: fc.constantFrom(5, 256),
  pinned: fc.constantFrom<readonly string[]>([], ["c"]),
  preload: fc.constantFrom<readonly string[]>([], ["b"]),
  warmSpare: fc.constantFrom("on" as const, "off" as const),
});

type Happening = typeof happening extends fc.Arbitrary<infer Value> ? Value : never;

test("whatever happens: each request ends once, memory is not exceeded, no runner and no operation is forgotten", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(happening, { maxLength: 60 }), settings, async (script, chosen) => {
      using world = new PoolWorld(models, chosen);
      const operations: Operation[] = [];
      world.pool.open(world.entry("a"));
      for (const event of script) {
        happen(world, event, operations);
        if (event.type === "wait") await world.pass(event.ms);
        else await world.flush();
        checkRunners(world, chosen.memoryBudget, chosen.maxResident);
      }
      await runToTheEnd(world, chosen.memoryBudget, chosen.maxResident);
      for (const { id, endings } of world.fates.values())
        assert.equal(endings.length, 1, `${id} has ended ${endings.length} times`);
      for (const { status } of operations)
        assert.ok(!["queued", "running"].includes(status.state), `a ${status.kind} never ended`);
      const closed = world.pool.close();
      for (const runner of world.runners) if (runner.state.name === "draining") runner.leave();
      await closed;
      assert.ok(!world.runners.some(({ isThere }) => isThere), "a runner is left behind");
    }),
    { numRuns: 150 },
  );
});

function happen(world: PoolWorld, event: Happening, operations: Operation[]): void {
  const there = world.runners.filter(({ isThere, model }) => isThere && model !== undefined);
  switch (event.type) {
    case "ask":
      ask(world, event.model, event.client, event.priority);
      break;
    case "end":
    case "produce": {
      const working = there.flatMap((runner) => [...runner.running.keys()].map((job) => ({ runner, job })));
      const chosen = working[event.which % working.length];
      if (chosen?.runner.state.name !== "ready") break;
      chosen.runner.produce(chosen.job, 1 + (event.which % 10));
      if (event.type === "end") chosen.runner.end(chosen.job);
      break;
    }
    case "progress":
      progress(there.filter(({ state }) => state.name !== "ready")[event.which % 2]);
      break;
    case "crash":
      there[event.which % there.length]?.die();
      break;
    case "kill-spare":
      world.spares[event.which % world.spares.length]?.die();
      break;
    case "refuse":
      there.find(({ state }) => state.name === "loading")?.refuse();
      break;
    case "switch":
      operations.push(world.pool.switchTo(world.entry(event.modelId)));
      break;
    case "load":
      operations.push(world.pool.load(world.entry(event.modelId)));
      break;
    case "unload":
      operations.push(world.pool.unload(world.entry(event.modelId)));
      break;
    case "cancel":
      cancel(world, [...world.fates.keys()][event.which % world.fates.size]);
      break;
    case "call-off":
      operations[event.which % operations.length]?.cancel();
      break;
    case "drift":
      world.drift(event.ms);
      break;
    case "wait":
      break;
  }
}

/** A request may be refused, which is an end, too. */
function ask(world: PoolWorld, model: string | undefined, client: string, priority: number): void {
  if (model === undefined && world.pool.activeModel === undefined) return;
  try {
    world.ask(model, client, priority);
  } catch (thrown) {
    if (!(thrown instanceof LlamapodError)) throw thrown;
  }
}

function cancel(world: PoolWorld, job: string | undefined): void {
  if (job === undefined) return;
  world.pool.cancel(job);
  const worker = world.workerOf(job);
  if (worker?.state.name === "ready") worker.end(job);
}

/** What loads gets on, what leaves is gone. @returns whether there was anything to do */
function progress(runner: FakeRunner | undefined): boolean {
  if (runner === undefined || !runner.isThere || runner.model === undefined || runner.state.name === "ready") return false;
  if (["draining", "unloading"].includes(runner.state.name)) runner.leave();
  else if (runner.state.name === "loading") runner.becomeReady();
  else runner.beginLoading();
  return true;
}

function checkRunners(world: PoolWorld, budget: number, maxResident: number): void {
  const there = world.runners.filter(({ isThere, model }) => isThere && model !== undefined);
  assert.ok(world.mostPlanned <= budget, "more memory is taken than there is");
  assert.ok(there.length <= maxResident, "more models are resident than may be");
  for (const { model, state } of there) {
    assert.equal(there.filter((other) => other.model === model).length, 1, `${model ?? ""} has two runners`);
    const known = world.pool.models.find(({ id }) => id === model);
    assert.equal(known?.state, publicState(state), "the pool has lost a runner");
  }
  for (const { id, endings } of world.fates.values()) assert.ok(endings.length <= 1, `${id} has ended twice`);
}

/** Nothing fails any more. Lets everything that runs end, and time pass, until nothing is left to do. */
async function runToTheEnd(world: PoolWorld, budget: number, maxResident: number): Promise<void> {
  const isWaiting = () => [...world.fates.values()].some(({ endings }) => endings.length === 0);
  let quiet = 0;
  for (let round = 0; quiet < 30; round++) {
    assert.ok(round < 3_000, "it never comes to rest");
    let hasMoved = false;
    for (const runner of [...world.runners]) {
      hasMoved = progress(runner) || hasMoved;
      for (const job of runner.state.name === "ready" ? [...runner.running.keys()] : []) {
        world.end(job);
        hasMoved = true;
      }
    }
    await world.pass(hasMoved ? 0 : 3_000);
    checkRunners(world, budget, maxResident);
    quiet = hasMoved || isWaiting() ? 0 : quiet + 1;
  }
}

test("however many models take turns, and whatever they answer, each has its turn within that of all others", async () => {
  const [minResidencySeconds, parkAfterSeconds, loadMs] = [5, 3, 1_000];
  const traffic = fc.array(fc.record({ jobs: fc.integer({ min: 1, max: 3 }), every: fc.integer({ min: 1, max: 20 }) }), {
    minLength: 2,
    maxLength: 4,
  });
  await fc.assert(
    fc.asyncProperty(traffic, fc.integer({ min: 0, max: 30 }), fc.boolean(), async (models, lateSecond, endsByItself) => {
      const ids = models.map((_, index) => `m${index}`);
      const all = Object.fromEntries([...ids, "late"].map((id) => [id, 4]));
      using world = new PoolWorld(all, { memoryBudget: 6 * mebibyte, minResidencySeconds, parkAfterSeconds, slots: 2 });
      await world.estimateAll();
      world.pool.open(world.entry("m0"));
      const turnMs = minResidencySeconds * 1_000 + parkAfterSeconds * 1_000 + 4 * loadMs;
      let late: string | undefined;
      for (let second = 0; ; second++) {
        for (const [index, { jobs, every }] of models.entries()) {
          if (second % every === 0) for (let job = 0; job < jobs; job++) ask(world, ids[index], `client-${index}`, 0);
        }
        if (second === lateSecond) late = world.ask("late");
        await world.pass(loadMs);
        for (const runner of [...world.runners]) {
          if (progress(runner)) continue;
          for (const job of [...runner.running.keys()]) {
            runner.produce(job, 10);
            if (endsByItself && second % 4 === 0) runner.end(job);
          }
        }
        if (late !== undefined && world.fates.get(late)?.startedAt !== undefined) break;
        const waited = world.now - (world.fates.get(late ?? "")?.askedAt ?? world.now);
        assert.ok(waited <= (models.length + 1) * turnMs, `the late one has waited for ${waited} ms`);
      }
    }),
    { numRuns: 30 },
  );
});

test("whatever is to be preloaded, and in whichever order things come, the active model is loaded", async () => {
  const coming = fc.oneof(
    fc.record({ type: fc.constantFrom("estimated" as const, "progress" as const, "crash" as const), which }),
    fc.record({ type: fc.constant("wait" as const), which: fc.nat({ max: 2_000 }) }),
  );
  const preload = fc.shuffledSubarray(["b", "c", "d"]);
  const budgetUnits = fc.integer({ min: 4, max: 12 });
  await fc.assert(
    fc.asyncProperty(budgetUnits, preload, fc.array(coming, { maxLength: 30 }), async (units, chosen, script) => {
      const sizes = { a: 4, b: 3, c: 2, d: 1 };
      using world = new PoolWorld(sizes, { memoryBudget: units * mebibyte, preload: chosen });
      const unknown = Object.entries(sizes).map(([id, size]) => world.hang(`${size}-${id}`));
      world.pool.open(world.entry("a"));
      for (const { type, which: chosenOne } of script) {
        const there = world.runners.filter(({ isThere, model }) => isThere && model !== undefined);
        if (type === "estimated") unknown[chosenOne % unknown.length]?.release();
        if (type === "progress") progress(there[chosenOne % there.length]);
        if (type === "crash") there.find(({ state }) => state.name === "loading")?.die();
        await world.pass(type === "wait" ? chosenOne : 0);
      }
      for (const { release } of unknown) release();
      await runToTheEnd(world, units * mebibyte, 16);
      assert.equal(world.states["a"], "ready");
    }),
    { numRuns: 100 },
  );
});
