import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { forecast } from "../../src/models/plan.ts";
import { limits, ResidencyWorld } from "./residency-world.ts";

const memory = { a: 4, b: 3, c: 2, d: 9 };
const models = Object.keys(memory);
const modelId = fc.constantFrom(...models);

const happening = fc.oneof(
  { weight: 5, arbitrary: fc.record({ type: fc.constant("ask" as const), modelId }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant("end" as const), modelId }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant("progress" as const), modelId }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("fail" as const), modelId }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("switch" as const), modelId }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("call-off" as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("cancel" as const) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("wait" as const), ms: fc.nat({ max: 8_000 }) }) },
);

test("whatever happens, memory is not exceeded, and every request ends once", () => {
  fc.assert(
    fc.property(
      fc.array(happening, { maxLength: 60 }),
      fc.integer({ min: 4, max: 12 }),
      fc.integer({ min: 1, max: 3 }),
      (script, capacity, maxResident) => {
        const world = new ResidencyWorld(memory, capacity, maxResident);
        for (const event of script) {
          if (event.type === "ask") world.ask(event.modelId);
          if (event.type === "end") world.endJob(event.modelId);
          if (event.type === "progress") world.progress(event.modelId);
          if (event.type === "fail") world.failLoad(event.modelId);
          if (event.type === "switch") world.switchingTo = event.modelId;
          if (event.type === "call-off") world.switchingTo = undefined;
          if (event.type === "cancel") world.cancelWaiting();
          if (event.type === "wait") world.now += event.ms;
          world.settle();
        }
        runToTheEnd(world);
        const ended = [...world.served, ...world.refused];
        assert.equal(ended.length, world.asked);
        assert.equal(new Set(ended).size, ended.length, "a request ended twice");
        assert.equal(world.switchingTo, undefined, "a switch was never completed");
      },
    ),
    { numRuns: 1_000 },
  );
});

/** Lets everything that runs end, and time pass, until nothing is left to do. */
function runToTheEnd(world: ResidencyWorld): void {
  for (let round = 0; ; round++) {
    assert.ok(round < 2_000, `${world.waiting.length} requests are never served`);
    const wakeAt = world.settle();
    const moved = models.map((id) => world.progress(id) || world.endJob(id)).includes(true);
    if (moved) continue;
    if (world.waiting.length === 0 && world.switchingTo === undefined) return;
    assert.ok(wakeAt < Infinity && wakeAt > world.now, "requests wait, and nothing will ever happen");
    world.now = wakeAt;
  }
}

test("two models that do not fit together share the time under steady traffic: none starves, and switches are few", () => {
  const world = new ResidencyWorld({ a: 4, b: 4 }, 6);
  const [loadMs, jobMs, stepMs, minutes] = [1_000, 800, 100, 2];
  const doneAt = new Map<string, number>();
  for (; world.now < minutes * 60_000; world.now += stepMs) {
    // More than one model could answer alone if it had to be loaded for each request.
    if (world.now % 2_000 === 1) for (const id of ["a", "b"]) world.ask(id);
    for (const [id, runner] of world.runners) {
      const isDue = (key: string, ms: number) => world.now >= (doneAt.get(key) ?? doneAt.set(key, world.now + ms).get(key) ?? 0);
      if (runner.phase !== "ready") {
        if (isDue(`${id} ${runner.phase} ${world.started.length}`, loadMs)) world.progress(id);
      } else for (const { job } of [...runner.jobs]) if (isDue(job, jobMs)) world.endJob(id);
    }
    world.settle();
  }
  const bound = limits.minResidencyMs + limits.parkAfterMs + 3 * loadMs;
  const longest = Math.max(...world.waits, ...world.waiting.map(({ since }) => world.now - since));
  assert.ok(longest <= 2 * bound, `somebody has waited ${longest} ms`);
  assert.ok(world.started.length < world.asked / 3, `${world.started.length} loads for ${world.asked} requests`);
  assert.ok(world.served.length > 0.8 * world.asked, `${world.served.length} of ${world.asked} were answered`);
});

test("a model that fits beside the others disturbs none of them", () => {
  const world = loaded({ a: 4, b: 4 }, 8, "a");
  world.ask("a");
  world.settle();
  world.switchingTo = "b";
  world.settle();
  assert.equal(world.runners.get("b")?.phase, "loading");
  assert.equal(world.runners.get("a")?.closedAt, undefined);
});

test("what has nothing to do makes room at once, the least recently used first, and no more than is needed", () => {
  const world = loaded({ a: 2, b: 2, c: 2, d: 3 }, 6, "a", "b", "c");
  world.ask("d");
  world.settle();
  assert.deepEqual(phases(world), { a: "leaving", b: "leaving", c: "ready" });
});

test("a switch lets what runs go on for a while, then parks it, and it goes on when there is room again", () => {
  const world = loaded({ a: 4, b: 4 }, 6, "a");
  world.ask("a");
  world.settle();
  world.switchingTo = "b";
  const wakeAt = world.settle();
  assert.equal(wakeAt, world.now + limits.parkAfterMs);
  assert.deepEqual(phases(world), { a: "ready" });
  world.now = wakeAt;
  world.settle();
  assert.deepEqual(phases(world), { a: "leaving" });
  world.progress("a");
  world.settle();
  world.progress("b");
  world.settle();
  assert.deepEqual([world.activeModel, world.parkings], ["b", 1]);
  // Nobody has asked for b yet. It keeps its place for its time all the same.
  world.now += limits.minResidencyMs;
  world.settle();
  world.progress("b");
  world.settle();
  world.progress("a");
  world.settle();
  assert.deepEqual([phases(world), world.runners.get("a")?.jobs.length], [{ a: "ready" }, 1]);
});

test("who makes room for a switch stays the same while others drain", () => {
  const world = loaded({ a: 4, b: 3, c: 2, d: 9 }, 12, "c", "b", "a");
  world.ask("a");
  world.settle();
  world.switchingTo = "d";
  world.settle();
  const closed = [...world.runners.values()].filter(({ closedAt }) => closedAt !== undefined);
  assert.deepEqual(new Set(closed.map((runner) => runner.modelId)), new Set(["a", "b"]));
});

test("a switch that is called off while the old model drains leaves it as it was", () => {
  const world = loaded({ a: 4, b: 4 }, 6, "a");
  world.ask("a");
  world.settle();
  world.switchingTo = "b";
  world.settle();
  world.ask("a");
  world.settle();
  assert.equal(world.runners.get("a")?.jobs.length, 1);
  world.switchingTo = undefined;
  world.settle();
  assert.equal(world.runners.get("a")?.jobs.length, 2);
});

test("a load that nobody waits for any more is stopped", () => {
  const world = new ResidencyWorld({ a: 4 }, 6);
  world.ask("a");
  world.settle();
  world.cancelWaiting();
  world.settle();
  assert.deepEqual(phases(world), { a: "leaving" });
});

test("what can never fit is refused before anything makes room, with what is missing", () => {
  const world = loaded({ a: 4, b: 9 }, 6, "a");
  const job = world.ask("b");
  world.settle();
  assert.deepEqual([world.refused, phases(world)], [[job], { a: "ready" }]);
  assert.deepEqual(forecast(world.view(), "b", { ram: 9, vram: 0 }), { outcome: "short", missing: { ram: 3, vram: 0 } });
});

test("a pinned model makes room for nobody", () => {
  const world = new ResidencyWorld({ a: 4, b: 4 }, 6, 16, ["a"]);
  world.ask("a");
  world.settle();
  world.progress("a");
  world.settle();
  world.endJob("a");
  const job = world.ask("b");
  world.settle();
  assert.deepEqual([world.refused, phases(world)], [[job], { a: "ready" }]);
});

test("a forecast says what a switch would do, and does nothing", () => {
  const world = loaded({ a: 4, b: 4, c: 1 }, 6, "a");
  const before = phases(world);
  assert.deepEqual(forecast(world.view(), "a", { ram: 4, vram: 0 }), { outcome: "resident" });
  assert.deepEqual(forecast(world.view(), "c", { ram: 1, vram: 0 }), { outcome: "beside" });
  assert.deepEqual(forecast(world.view(), "b", { ram: 4, vram: 0 }), { outcome: "evicts", victims: ["a"] });
  assert.deepEqual(phases(world), before);
});

test("a forecast says who a switch will make leave", () => {
  const begun = fc.array(fc.record({ modelId, isLoaded: fc.boolean(), isAtWork: fc.boolean() }), { maxLength: 4 });
  fc.assert(
    fc.property(begun, modelId, fc.integer({ min: 4, max: 12 }), (before, target, capacity) => {
      const world = new ResidencyWorld(memory, capacity);
      for (const { modelId: id, isLoaded, isAtWork } of before) {
        if (world.runners.has(id) || world.waiting.length > 0) continue;
        world.ask(id);
        world.settle();
        if (!isLoaded) continue;
        world.progress(id);
        world.settle();
        if (!isAtWork) world.endJob(id);
      }
      world.settle();
      fc.pre(world.waiting.every((job) => world.runners.has(job.modelId)));
      fc.pre([...world.runners.values()].every(({ phase }) => phase !== "leaving"));
      const ram = memory[target as keyof typeof memory];
      const said = forecast(world.view(), target, { ram, vram: 0 });
      const wasThere = [...world.runners.keys()];
      world.switchingTo = target;
      const isSwitching = () => world.switchingTo !== undefined;
      let left: string[] = [];
      const settle = () => {
        world.settle();
        // What was parked comes back after the target, and may make others leave in its turn.
        if (!world.runners.has(target)) left = wasThere.filter((id) => (world.runners.get(id)?.phase ?? "leaving") === "leaving");
      };
      while (isSwitching()) {
        settle();
        for (const id of models) world.progress(id);
        settle();
        world.now += limits.parkAfterMs;
      }
      if (said.outcome === "short") assert.ok(!world.runners.has(target));
      else assert.deepEqual(left, said.outcome === "evicts" ? wasThere.filter((id) => said.victims.includes(id)) : []);
    }),
    { numRuns: 500 },
  );
});

function loaded(sizes: Readonly<Record<string, number>>, capacity: number, ...ids: readonly string[]): ResidencyWorld {
  const world = new ResidencyWorld(sizes, capacity);
  for (const id of ids) {
    world.ask(id);
    world.settle();
    world.progress(id);
    world.settle();
    world.endJob(id);
    world.settle();
  }
  return world;
}

function phases(world: ResidencyWorld): Record<string, string> {
  return Object.fromEntries([...world.runners].map(([id, { phase }]) => [id, phase]));
}
