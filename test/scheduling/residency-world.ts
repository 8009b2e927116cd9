import assert from "node:assert/strict";
import { add, fits } from "../../src/models/memory/memory.ts";
import { plan, type Decision } from "../../src/models/plan.ts";
import type { PlanView, RunnerView } from "../../src/models/plan-view.ts";
import type { Memory } from "../../src/protocol/runner.ts";

export const limits = { minResidencyMs: 5_000, parkAfterMs: 3_000, idleUnloadMs: 0 };

interface WaitingJob {
  readonly job: string;
  readonly modelId: string;
  readonly since: number;
  readonly priority: number;
  readonly isSuspect: boolean;
}

type Runner = { -readonly [Key in Exclude<keyof RunnerView, "runningJobs" | "freeSlots">]: RunnerView[Key] } & {
  jobs: WaitingJob[];
};

const slots = 2;

/** A pool without processes: carries out what `plan` decides, and holds it to the rules. Time is what the test says. */
export class ResidencyWorld {
  now = 1;
  switchingTo: string | undefined;
  activeModel: string | undefined;
  readonly runners = new Map<string, Runner>();
  readonly resting = new Set<string>();
  readonly refused: string[] = [];
  readonly served: string[] = [];
  readonly started: string[] = [];
  /** Of each job, from its arrival or its parking to its slot, in milliseconds. */
  readonly waits: number[] = [];
  parkings = 0;
  waiting: WaitingJob[] = [];
  readonly #memory: ReadonlyMap<string, Memory>;
  readonly #capacity: Memory;
  readonly #maxResident: number;
  readonly #pinned: ReadonlySet<string>;
  readonly #estimated = new Set<string>();
  readonly #lastServed = new Map<string, number>();
  #asked = 0;
  #uses = 0;

  constructor(memory: Readonly<Record<string, number>>, capacity: number, maxResident = 16, pinned: readonly string[] = []) {
    this.#memory = new Map(Object.entries(memory).map(([id, ram]) => [id, { ram, vram: 0 }]));
    this.#capacity = { ram: capacity, vram: 0 };
    this.#maxResident = maxResident;
    this.#pinned = new Set(pinned);
  }

  get asked(): number {
    return this.#asked;
  }

  ask(modelId: string, priority = 0): string {
    const job = `job-${this.#asked++}`;
    this.waiting.push({ job, modelId, since: this.now, priority, isSuspect: false });
    return job;
  }

  cancelWaiting(): void {
    const cancelled = this.waiting.pop();
    if (cancelled !== undefined) this.served.push(cancelled.job);
  }

  /** A running job ends. @returns whether there was one */
  endJob(modelId: string): boolean {
    const runner = this.runners.get(modelId);
    const ended = runner?.jobs.shift();
    if (runner === undefined || ended === undefined) return false;
    this.served.push(ended.job);
    this.#lastServed.set(modelId, this.now);
    runner.idleSince = this.now;
    return true;
  }

  /** What loads is loaded, what leaves is gone. @returns whether anything was on its way */
  progress(modelId: string): boolean {
    const runner = this.runners.get(modelId);
    if (runner === undefined || runner.phase === "ready") return false;
    if (runner.phase === "loading") {
      Object.assign(runner, { phase: "ready", readyAt: this.now, idleSince: this.now });
      return true;
    }
    this.runners.delete(modelId);
    this.parkings += runner.jobs.length;
    if (runner.jobs.length > 0) this.#lastServed.set(modelId, this.now);
    this.waiting = [...runner.jobs.map((job) => ({ ...job, since: this.now })), ...this.waiting];
    return true;
  }

  failLoad(modelId: string): void {
    if (this.runners.get(modelId)?.phase !== "loading") return;
    this.runners.delete(modelId);
    if (this.switchingTo === modelId) this.switchingTo = undefined;
    this.refuse(modelId);
  }

  refuse(modelId: string): void {
    if (this.switchingTo === modelId) this.switchingTo = undefined;
    this.refused.push(...this.waiting.filter((job) => job.modelId === modelId).map(({ job }) => job));
    this.waiting = this.waiting.filter((job) => job.modelId !== modelId);
  }

  /** Lets `plan` decide until it has nothing more to say. */
  settle(): number {
    for (let round = 0; ; round++) {
      assert.ok(round < 50, "the plan never comes to rest");
      if (this.switchingTo !== undefined && this.runners.get(this.switchingTo)?.phase === "ready") {
        this.activeModel = this.switchingTo;
        this.switchingTo = undefined;
      }
      const { decisions, wakeAt } = plan(this.view());
      if (decisions.length === 0) return wakeAt;
      for (const decision of decisions) this.#carryOut(decision);
      const taken = add(...[...this.runners.values()].map(({ memory }) => memory));
      assert.ok(fits(taken, this.#capacity), "more memory is taken than there is");
      assert.ok(this.runners.size <= this.#maxResident, "more models are resident than may be");
    }
  }

  view(): PlanView {
    return {
      now: this.now,
      waiting: this.waiting,
      runners: [...this.runners.values()].map(({ jobs, ...runner }) => ({
        ...runner,
        runningJobs: jobs.length,
        freeSlots: slots - jobs.length,
      })),
      capacity: this.#capacity,
      estimates: new Map([...this.#memory].filter(([id]) => this.#estimated.has(id))),
      maxResident: this.#maxResident,
      request: this.switchingTo === undefined ? undefined : { kind: "switch", modelId: this.switchingTo },
      lastServed: this.#lastServed,
      kept: this.activeModel === undefined ? [] : [this.activeModel],
      estimating: new Set(),
      resting: this.resting,
      limits,
    };
  }

  #carryOut(decision: Decision): void {
    const runner = this.runners.get(decision.modelId);
    switch (decision.type) {
      case "estimate":
        assert.ok(!this.#estimated.has(decision.modelId), "an estimate is asked for once");
        this.#estimated.add(decision.modelId);
        break;
      case "start":
        assert.equal(runner, undefined, "a resident model is started");
        assert.ok(!this.resting.has(decision.modelId), "a resting model is started");
        this.started.push(decision.modelId);
        this.runners.set(decision.modelId, this.#starting(decision.modelId));
        break;
      case "refuse":
        this.refuse(decision.modelId);
        if (this.activeModel === decision.modelId) this.activeModel = undefined;
        break;
      case "decline":
        assert.fail("nobody asks for a load that is not a switch");
        break;
      case "close":
      case "reopen":
        assert.ok(runner?.phase === "ready");
        runner.closedAt = decision.type === "close" ? this.now : undefined;
        break;
      case "stop":
      case "sleep":
        assert.ok(runner !== undefined && runner.phase !== "leaving");
        assert.ok(!runner.isPinned, "a pinned model is made to leave");
        runner.phase = "leaving";
        break;
      case "dispatch": {
        const job = this.waiting.find((candidate) => candidate.job === decision.job);
        assert.ok(runner?.phase === "ready" && job?.modelId === decision.modelId);
        assert.equal(runner.closedAt, undefined, "a model that makes room is given work");
        assert.ok(runner.jobs.length < slots, "a model is given more jobs than it has slots");
        runner.jobs.push(job);
        Object.assign(runner, { hasWorked: true, lastUsed: ++this.#uses });
        this.#lastServed.set(decision.modelId, this.now);
        this.waits.push(this.now - job.since);
        this.waiting = this.waiting.filter((candidate) => candidate !== job);
        break;
      }
    }
  }

  #starting(modelId: string): Runner {
    return {
      modelId,
      phase: "loading",
      memory: this.#memory.get(modelId) ?? assert.fail(`there is no model ${modelId}`),
      lastUsed: ++this.#uses,
      readyAt: 0,
      loadMs: 0,
      idleSince: 0,
      hasWorked: false,
      isSoonAskedAgain: false,
      isReading: false,
      readUntil: 0,
      isProving: false,
      closedAt: undefined,
      isPinned: this.#pinned.has(modelId),
      isUnloading: false,
      jobs: [],
    };
  }
}
