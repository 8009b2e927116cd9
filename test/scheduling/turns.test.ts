import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { mebibyte, PoolWorld } from "./pool-world.ts";
import { limits, ResidencyWorld } from "./residency-world.ts";

const models = ["a", "b", "c"];

test("answers that never end keep no model from its turn, whatever the priorities", () => {
  const asks = fc.array(
    fc.record({
      modelId: fc.constantFrom(...models),
      priority: fc.integer({ min: -3, max: 3 }),
      afterMs: fc.nat({ max: 20_000 }),
    }),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(asks, (script) => {
      const world = new ResidencyWorld({ a: 4, b: 4, c: 4 }, 6);
      for (const { modelId, priority, afterMs } of script) {
        world.ask(modelId, priority);
        settle(world);
        world.now += afterMs;
      }
      // Each of the others has its turn first, and a lead of three steps for it.
      const turnMs = limits.minResidencyMs + limits.parkAfterMs + 6 * 10_000;
      const deadline = world.now + models.length * turnMs;
      const isAnswered = (modelId: string) => world.runners.get(modelId)?.phase === "ready";
      const due = new Set(world.waiting.map(({ modelId }) => modelId));
      while (due.size > 0) {
        const wakeAt = settle(world);
        for (const modelId of due) if (isAnswered(modelId)) due.delete(modelId);
        if (due.size === 0) break;
        assert.ok(wakeAt <= deadline, `${[...due].join()} will not be answered until ${wakeAt}, ${deadline} is due`);
        world.now = Math.max(world.now + 1, wakeAt);
      }
    }),
    { numRuns: 500 },
  );
});

/** Until nothing is on its way. */
function settle(world: ResidencyWorld): number {
  for (;;) {
    const wakeAt = world.settle();
    if (!models.map((id) => world.progress(id)).includes(true)) return wakeAt;
  }
}

test("it is a model's turn when the lead of another one's urgent jobs is over, although nothing happens then", async () => {
  using world = new PoolWorld({ a: 4, b: 4 }, { memoryBudget: 6 * mebibyte, minResidencySeconds: 1 });
  await world.estimateAll();
  const a = await world.serve("a");
  a.produce(world.ask("a"));
  await world.pass(60_000);
  world.ask("a", "urgent", 1);
  world.ask("b");
  await world.pass(9_999);
  assert.equal(a.state.name, "ready");
  await world.pass(3);
  await world.pass(3_001);
  assert.equal(a.state.name, "draining");
  a.leave();
  await world.ready("b");
});
