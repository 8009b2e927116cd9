import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { plan, type PlanView, type RunnerView } from "../../src/models/plan.ts";

const modelId = fc.constantFrom("a", "b", "c");

const runners = fc.uniqueArray(
  fc.record<RunnerView>({
    modelId,
    phase: fc.constantFrom("loading", "ready", "leaving"),
    freeSlots: fc.nat({ max: 3 }),
    runningJobs: fc.nat({ max: 3 }),
    lastUsed: fc.nat({ max: 9 }),
  }),
  { selector: (runner) => runner.modelId, maxLength: 3 },
);

const views: fc.Arbitrary<PlanView> = fc
  .record({
    waiting: fc.array(modelId, { maxLength: 8 }),
    runners,
    room: fc.nat({ max: 2 }),
    activeModel: fc.option(modelId, { nil: undefined }),
    switchingTo: fc.option(modelId, { nil: undefined }),
    resting: fc.uniqueArray(modelId),
  })
  .map(({ waiting, room, resting, ...view }) => ({
    ...view,
    waiting: waiting.map((model, index) => ({ job: `job-${index}`, modelId: model })),
    maxResident: Math.max(1, view.runners.length + room - 1),
    resting: new Set(resting),
  }));

test("a decision never breaks a rule, whatever the situation", () => {
  fc.assert(
    fc.property(views, (view) => {
      const decisions = plan(view);
      const runnerOf = (id: string) => view.runners.find((runner) => runner.modelId === id);
      const starts = decisions.filter(({ type }) => type === "start");
      assert.ok(
        starts.length === 0 || view.runners.length + starts.length <= view.maxResident,
        "starts within the room there is",
      );
      for (const decision of decisions) {
        const runner = runnerOf(decision.modelId);
        if (decision.type === "start") assert.ok(runner === undefined && !view.resting.has(decision.modelId));
        if (decision.type === "stop") assert.ok(runner?.phase === "ready" && runner.runningJobs === 0);
        if (decision.type === "dispatch") assert.equal(runner?.phase, "ready");
      }
      for (const { modelId: id, freeSlots } of view.runners) {
        const dispatched = decisions.flatMap((decision) =>
          decision.type === "dispatch" && decision.modelId === id ? [decision.job] : [],
        );
        const first = view.waiting.filter((job) => job.modelId === id).slice(0, dispatched.length);
        assert.ok(dispatched.length <= freeSlots);
        assert.deepEqual(
          dispatched,
          first.map(({ job }) => job),
          "in order of arrival",
        );
      }
    }),
    { numRuns: 3_000 },
  );
});

const slots = 2;

interface Simulated {
  phase: RunnerView["phase"];
  jobs: string[];
  lastUsed: number;
}

test("every job is served in the end, and no more models are loaded than fit, in any order of events", () => {
  const events = fc.array(fc.oneof(modelId, fc.constantFrom("end", "progress")), { maxLength: 120 });
  fc.assert(
    fc.property(events, fc.integer({ min: 1, max: 2 }), fc.infiniteStream(fc.nat()), (script, maxResident, choices) => {
      const loaded = new Map<string, Simulated>();
      let waiting: { job: string; modelId: string }[] = [];
      let served = 0;
      let uses = 0;
      const settle = () => {
        for (let round = 0; ; round++) {
          assert.ok(round < 100, "decisions come to an end");
          const decisions = plan({
            waiting,
            runners: [...loaded].map(([id, { phase, jobs, lastUsed }]) => ({
              modelId: id,
              phase,
              freeSlots: slots - jobs.length,
              runningJobs: jobs.length,
              lastUsed,
            })),
            maxResident,
            activeModel: "a",
            switchingTo: undefined,
            resting: new Set(),
          });
          if (decisions.length === 0) return;
          for (const decision of decisions) {
            const runner = loaded.get(decision.modelId);
            if (decision.type === "start") loaded.set(decision.modelId, { phase: "loading", jobs: [], lastUsed: ++uses });
            else if (runner === undefined) assert.fail("a decision about a model that is not there");
            else if (decision.type === "stop") runner.phase = "leaving";
            else {
              runner.jobs.push(decision.job);
              runner.lastUsed = ++uses;
              waiting = waiting.filter(({ job }) => job !== decision.job);
            }
          }
          assert.ok(loaded.size <= maxResident);
        }
      };
      const pick = <Item>(items: readonly Item[]): Item | undefined =>
        items[(choices.next().value ?? 0) % Math.max(1, items.length)];
      const end = () => {
        const busy = pick([...loaded.values()].filter(({ jobs }) => jobs.length > 0));
        if (busy?.jobs.shift() !== undefined) served++;
      };
      const progress = () => {
        const moving = pick([...loaded].filter(([, { phase }]) => phase !== "ready"));
        if (moving?.[1].phase === "loading") moving[1].phase = "ready";
        else if (moving !== undefined) loaded.delete(moving[0]);
      };
      let asked = 0;
      for (const event of script) {
        if (event === "end") end();
        else if (event === "progress") progress();
        else waiting.push({ job: `job-${asked++}`, modelId: event });
        settle();
      }
      for (let round = 0; served < asked; round++) {
        assert.ok(round < 1_000, `${asked - served} jobs were never served`);
        end();
        progress();
        settle();
      }
    }),
    { numRuns: 500 },
  );
});
