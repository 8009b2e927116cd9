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
      const lost = slot.length - commonPrefix;
      if (free.some(({ length }) => length === 0)) {
        assert.ok(lost <= commonPrefix || commonPrefix === prompt.length, "nothing is overwritten where there is room");
      }
      for (const other of free) {
        const isWhole = shared(other) > 0 && (shared(other) === other.length || shared(other) === prompt.length);
        if (isWhole) assert.ok(commonPrefix >= shared(other), "a conversation goes on where it is");
      }
      if (commonPrefix === 0 && lost > 0) assert.equal(slot.lastUsed, Math.min(...free.map(({ lastUsed }) => lastUsed)));
    }),
    { numRuns: 2_000 },
  );
});

function holding(id: number, held: number[], lastUsed: number): Slot {
  const slot = new Slot(id, 4_096);
  slot.append(Uint32Array.from(held));
  slot.lastUsed = lastUsed;
  return slot;
}

const system = Array.from({ length: 500 }, () => 1);
const talk = [...system, ...Array.from({ length: 1_000 }, () => 2)];
const greeting = Uint32Array.from([...system, 3, 3, 3]);

test("a short question that begins like somebody's long conversation leaves it where it is", () => {
  const [long, empty] = [holding(0, talk, 2), holding(1, [], 0)];
  assert.equal(chooseSlot([long, empty], "", greeting)?.slot, empty);
  const old = holding(1, [4, 4, 4], 1);
  assert.equal(chooseSlot([long, old], "", greeting)?.slot, old);
});

test("a conversation goes on in its slot, and so does one that is asked again", () => {
  const [long, empty] = [holding(0, talk, 2), holding(1, [], 0)];
  for (const prompt of [[...talk, 5, 5], talk.slice(0, 700)]) {
    const choice = chooseSlot([long, empty], "", Uint32Array.from(prompt));
    assert.deepEqual([choice?.slot, choice?.commonPrefix], [long, Math.min(prompt.length, talk.length)]);
  }
});

const pendingPrefills = fc.uniqueArray(fc.record({ slot: fc.nat({ max: 15 }), remaining: fc.integer({ min: 1, max: 600 }) }), {
  selector: ({ slot }) => slot,
  minLength: 1,
  maxLength: 8,
});

test("a prefill batch uses its budget, favours the oldest prompt with half of it or every other batch, and keeps slots in order", () => {
  fc.assert(
    fc.property(pendingPrefills, fc.integer({ min: 1, max: 512 }), fc.boolean(), (pending, budget, isTurnOfOldest) => {
      const chunks = planPrefill(pending, budget, isTurnOfOldest);
      const remainingOf = (slot: number) => pending.find((entry) => entry.slot === slot)?.remaining ?? 0;
      const needed = pending.reduce((sum, { remaining }) => sum + remaining, 0);
      assert.equal(
        chunks.reduce((sum, { take }) => sum + take, 0),
        Math.min(budget, needed),
      );
      for (const { slot, take } of chunks) {
        assert.ok(take > 0 && take <= remainingOf(slot));
      }
      const [oldest] = pending;
      const oldestTake = chunks.find(({ slot }) => slot === oldest?.slot)?.take ?? 0;
      const share = budget >= 128 ? Math.ceil(budget / 2) : isTurnOfOldest ? budget : 0;
      assert.ok(oldestTake >= Math.min(oldest?.remaining ?? 0, share));
      const sharing = budget < 128 ? chunks.filter(({ slot, take }) => take < Math.min(64, remainingOf(slot))) : [];
      assert.ok(sharing.length <= 1, "at most what is left of a small batch is too small a part");
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
  for (let batch = 0; batch < 20; batch++) pace.observe(100, 100, 200);
  assert.equal(pace.budget(1, 3), 75);
  assert.equal(pace.budget(6, 2), 225);
  for (let batch = 0; batch < 20; batch++) pace.observe(100, 100, 100_000);
  assert.equal(pace.budget(1, 3), 16);
});

test("beside answers, a batch that is attended to at once is taken where smaller ones would hold them up half as long or more", () => {
  const pace = new PrefillPace(512);
  for (let batch = 0; batch < 20; batch++) pace.observe(64, 64, 64 * 4);
  assert.equal(pace.budget(1, 3), 64, "256 ms instead of 150");
  for (let batch = 0; batch < 20; batch++) pace.observe(64, 64, 64 * 5);
  assert.equal(pace.budget(1, 3), 30, "320 ms would be too long");
  for (let batch = 0; batch < 20; batch++) pace.observe(16, 16, 16 * 12);
  assert.equal(pace.budget(1, 3), 64, "but not where 16 alone take 192 ms");
  for (let batch = 0; batch < 20; batch++) pace.observe(64, 32, 64 * 6);
  assert.equal(pace.budget(1, 3), 24, "and not where two slots share a batch well enough");
});
