import assert from "node:assert/strict";
import { test } from "node:test";
import { prefillKind } from "../../src/models/runner/prefill.ts";
import { ThreadGovernor } from "../../src/models/runner/thread-governor.ts";

/** A machine: what a batch costs with so many threads, in milliseconds. */
type Machine = (threads: number) => number;

/** More threads are faster, until another program takes `taken` cores and the rest spins in vain. */
const cores =
  (count: number, taken = 0): Machine =>
  (threads) =>
    100 / threads + (threads > count - taken ? 300 : 0);

class Simulation {
  now = 0;
  readonly governor: ThreadGovernor;

  constructor(threads: number) {
    this.governor = new ThreadGovernor(threads);
  }

  /** @returns the numbers of threads that were used */
  run(machine: Machine, batches: number): number[] {
    return Array.from({ length: batches }, () => {
      const threads = this.governor.threadsFor("decode");
      const cost = machine(threads);
      this.now += cost;
      this.governor.observe("decode", cost, this.now);
      return threads;
    });
  }
}

for (const count of [1, 2, 4, 16]) {
  test(`${count} cores that are all ours are all used`, () => {
    const used = new Simulation(count).run(cores(count), 1_000);
    const elsewhere = used.filter((threads) => threads !== count).length;
    assert.equal(used.at(-1), count);
    assert.ok(elsewhere <= 10, `${elsewhere} of 1000 batches were trials`);
  });
}

test("a core that is taken is left within a few batches, and used again when it is free", () => {
  const simulation = new Simulation(2);
  simulation.run(cores(2), 100);
  const contended = simulation.run(cores(2, 1), 100);
  assert.ok(contended.slice(10).filter((threads) => threads === 2).length <= 8);
  assert.equal(contended.at(-1), 1);
  const free = simulation.run(cores(2), 1_000);
  assert.equal(free.at(-1), 2);
});

test("many taken cores are left in steps", () => {
  const simulation = new Simulation(16);
  simulation.run(cores(16), 50);
  assert.ok((simulation.run(cores(16, 8), 400).at(-1) ?? 16) <= 8);
});

test("a machine that is contended from the start is found out at once", () => {
  const used = new Simulation(2).run(cores(2, 1), 30);
  assert.equal(used.at(-1), 1);
});

test("one slow batch is no reason to change anything", () => {
  const simulation = new Simulation(2);
  simulation.run(cores(2), 50);
  simulation.run(() => 500, 1);
  assert.deepEqual(new Set(simulation.run(cores(2), 50)), new Set([2]));
});

test("prompts keep their threads, however short and long ones follow each other: a token costs more in a small batch", () => {
  const governor = new ThreadGovernor(2);
  let now = 0;
  const used = Array.from({ length: 300 }, (_, index) => {
    const tokens = [16, 512, 512, 512, 100, 40, 512][index % 7] ?? 16;
    const kind = prefillKind(tokens);
    const threads = governor.threadsFor(kind);
    const cost = (40 / tokens + 1) / threads;
    now += cost * tokens;
    governor.observe(kind, cost, now);
    return threads;
  });
  assert.ok(used.filter((threads) => threads === 1).length <= 12, used.join(""));
  assert.deepEqual(new Set(used.slice(100)), new Set([2]));
});

test("a trial leaves batches of other kinds alone, and waits for those of its own", () => {
  const governor = new ThreadGovernor(2);
  for (let count = 0; count < 3; count++) governor.observe("large", 2, count);
  assert.deepEqual([governor.threadsFor("large"), governor.threadsFor("small")], [1, 2]);
  governor.observe("small", 9, 4);
  assert.equal(governor.threadsFor("large"), 1);
});
