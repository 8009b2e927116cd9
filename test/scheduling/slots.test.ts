import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { planPrefill, PrefillPace } from "../../src/models/runner/prefill.ts";
import { chooseSlot, commonPrefixLength, Slot } from "../../src/models/runner/slots.ts";

const tokens = fc.array(fc.nat({ max: 3 }), { maxLength: 12 });

const slotTables = fc
  .array(fc.record({ held: tokens, busy: fc.boolean(), lastUsed: fc.nat({ max: 9 }), scope: fc.constantFrom("a", "b") }), {
    minLength: 1,
    maxLength: 5,
  })
  .map((entries) =>
    entries.map(({ held, busy, lastUsed, scope }, id) => {
      const slot = new Slot(id, 64);
      slot.append(Uint32Array.from(held));
      slot.busy = busy;
      slot.scope = scope;
      slot.lastUsed = lastUsed;
      return slot;
    }),
  );

test("a slot is free, goes on with the conversation of its scope that shares most, and is otherwise empty or the longest unused", () => {
  fc.assert(
    fc.property(slotTables, tokens, (slots, prompted) => {
      const prompt = Uint32Array.from(prompted);
      const free = slots.filter(({ busy }) => !busy);
      const choice = chooseSlot(slots, "a", prompt);
      if (choice === undefined) return assert.equal(free.length, 0);
      const { slot, commonPrefix } = choice;
      assert.equal(slot.busy, false);
      const shared = (candidate: Slot) => (candidate.scope === "a" ? commonPrefixLength(candidate.tokens, prompt) : 0);
      assert.equal(commonPrefix, shared(slot));
      const continues = (candidate: Slot) => shared(candidate) * 2 > Math.min(candidate.length, prompt.length);
      const continuing = free.filter(continues);
      if (continuing.length > 0) {
        assert.equal(commonPrefix, Math.max(...continuing.map(shared)));
      } else if (free.some(({ length }) => length === 0)) {
        assert.equal(slot.length, 0);
      } else {
        assert.equal(slot.lastUsed, Math.min(...free.map(({ lastUsed }) => lastUsed)));
      }
    }),
    { numRuns: 2_000 },
  );
});

const pendingPrefills = fc.uniqueArray(fc.record({ slot: fc.nat({ max: 15 }), remaining: fc.integer({ min: 1, max: 600 }) }), {
  selector: ({ slot }) => slot,
  minLength: 1,
  maxLength: 8,
});

test("a prefill batch uses its budget, favours the oldest prompt with half of it, and keeps slots in order", () => {
  fc.assert(
    fc.property(pendingPrefills, fc.integer({ min: 1, max: 512 }), (pending, budget) => {
      const chunks = planPrefill(pending, budget);
      const needed = pending.reduce((sum, { remaining }) => sum + remaining, 0);
      assert.equal(
        chunks.reduce((sum, { take }) => sum + take, 0),
        Math.min(budget, needed),
      );
      for (const { slot, take } of chunks) {
        assert.ok(take > 0 && take <= (pending.find((entry) => entry.slot === slot)?.remaining ?? 0));
      }
      const [oldest] = pending;
      const oldestTake = chunks.find(({ slot }) => slot === oldest?.slot)?.take ?? 0;
      assert.ok(oldestTake >= Math.min(oldest?.remaining ?? 0, Math.ceil(budget / 2)));
      assert.deepEqual(
        chunks.map(({ slot }) => slot),
        chunks.map(({ slot }) => slot).sort((a, b) => a - b),
      );
    }),
    { numRuns: 2_000 },
  );
});

test("prompts are read in full batches alone, and in what fits between two tokens beside answers", () => {
  const pace = new PrefillPace(512);
  assert.equal(pace.budget(1, 0), 512);
  for (let batch = 0; batch < 20; batch++) pace.observe(100, 200);
  assert.equal(pace.budget(1, 3), 75);
  assert.equal(pace.budget(6, 2), 225);
  for (let batch = 0; batch < 20; batch++) pace.observe(100, 100_000);
  assert.equal(pace.budget(1, 3), 16);
});
