import assert from "node:assert/strict";
import { test } from "node:test";
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
      const { threads } = this.governor;
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
