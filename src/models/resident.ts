import type { Metrics, PoolMeasurement } from "../health/metrics.ts";
import type { EndedEvent, Memory, StepEvent } from "../protocol/runner.ts";
import type { CatalogueEntry } from "./catalogue.ts";
import type { Job } from "./job.ts";
import { larger } from "./memory/memory.ts";
import type { RunnerView } from "./plan.ts";
import type { RunnerProcess } from "./runner-process.ts";
import { isLeaving } from "./runner-state.ts";

/** A model that is loaded, or on its way in or out: its runner, and the jobs that it works on. */
export class Resident {
  readonly entry: CatalogueEntry;
  readonly runner: RunnerProcess;
  readonly startedAt = performance.now();
  /** It makes room for another model: since when. */
  closedAt: number | undefined;
  /** It goes as soon as it has nothing to do. */
  isUnloading = false;
  readonly #slots: number;
  readonly #estimate: Memory;
  readonly #metrics: Metrics;
  readonly #jobs = new Map<string, Job>();
  /** Jobs that have not got a token here yet. */
  readonly #reading = new Set<string>();
  #readyAt: number | undefined;
  #idleSince = 0;
  #hasWorked = false;
  /** Grows with every use in the pool. */
  #lastUsed: number;

  constructor(entry: CatalogueEntry, runner: RunnerProcess, slots: number, estimate: Memory, metrics: Metrics, use: number) {
    this.entry = entry;
    this.runner = runner;
    this.#slots = slots;
    this.#estimate = estimate;
    this.#metrics = metrics;
    this.#lastUsed = use;
  }

  get jobs(): readonly Job[] {
    return [...this.#jobs.values()];
  }

  get hasBeenReady(): boolean {
    return this.#readyAt !== undefined;
  }

  /** What it takes, or is expected to. */
  get memory(): Memory {
    const { state } = this.runner;
    return state.name === "ready" ? larger(state.model.memory, this.#estimate) : this.#estimate;
  }

  /** @returns how long it took, in seconds */
  becameReady(): number {
    this.#readyAt = performance.now();
    this.#idleSince = this.#readyAt;
    return (this.#readyAt - this.startedAt) / 1_000;
  }

  take(job: Job, use: number): void {
    this.#jobs.set(job.request.id, job);
    this.#reading.add(job.request.id);
    this.#hasWorked = true;
    this.#lastUsed = use;
    this.runner.send(job.command());
  }

  cancel(id: string): void {
    this.#jobs.get(id)?.cancel(this.runner);
  }

  /** The jobs, which are somebody else's from now on. */
  release(): readonly Job[] {
    const released = this.jobs;
    this.#jobs.clear();
    this.#reading.clear();
    return released;
  }

  /** Hands a step's events to their jobs. @returns the jobs that have ended */
  stepped(step: StepEvent): readonly Job[] {
    for (const started of step.started) this.#started(started);
    for (const output of step.outputs) this.#produced(output, step.at);
    return step.ended.flatMap((ended) => this.#ended(ended));
  }

  #started({ id, promptTokens, cachedTokens }: StepEvent["started"][number]): void {
    const job = this.#jobs.get(id);
    if (job === undefined || job.hasStarted) return;
    const model = this.entry.id;
    job.start(promptTokens, cachedTokens, Math.max(0, (this.#readyAt ?? 0) - Math.max(job.acceptedAt, this.startedAt)));
    this.#metrics.queueSeconds.observe({ model }, job.queueMs / 1_000);
    this.#metrics.promptTokens.inc({ model }, promptTokens);
    this.#metrics.cachedTokens.inc({ model }, cachedTokens);
  }

  #produced({ id, text, tokens }: StepEvent["outputs"][number], at: number): void {
    const job = this.#jobs.get(id);
    if (job === undefined) return;
    const model = this.entry.id;
    this.#reading.delete(id);
    const { isFirst, gapMs } = job.produce(text, tokens, at);
    this.#metrics.generatedTokens.inc({ model }, tokens.length);
    if (isFirst) this.#metrics.prefillSeconds.observe({ model }, job.prefillMs / 1_000);
    if (gapMs !== undefined) this.#metrics.interTokenSeconds.observe({ model }, gapMs / 1_000);
  }

  #ended(ended: EndedEvent): Job[] {
    const job = this.#jobs.get(ended.id);
    if (job === undefined) return [];
    this.#jobs.delete(ended.id);
    this.#reading.delete(ended.id);
    this.#idleSince = performance.now();
    job.end(ended);
    return [job];
  }

  view(isPinned: boolean): RunnerView {
    const { state } = this.runner;
    return {
      modelId: this.entry.id,
      phase: state.name === "ready" ? "ready" : isLeaving(state) ? "leaving" : "loading",
      memory: this.memory,
      freeSlots: this.#slots - this.#jobs.size,
      runningJobs: this.#jobs.size,
      lastUsed: this.#lastUsed,
      readyAt: this.#readyAt ?? 0,
      idleSince: this.#idleSince,
      hasWorked: this.#hasWorked,
      isReading: this.#reading.size > 0,
      closedAt: this.closedAt,
      isPinned,
      isUnloading: this.isUnloading,
    };
  }

  measure(): PoolMeasurement["running"][number] {
    const { state, statistics } = this.runner;
    const loaded = state.name === "ready" ? state.model : undefined;
    return {
      modelId: this.entry.id,
      runningJobs: this.#jobs.size,
      slots: this.#slots,
      backend: loaded?.backend,
      cachedTokens: statistics.cachedTokens,
      contextTokens: loaded === undefined ? 0 : loaded.contextSize * loaded.slots,
      memory: this.memory,
    };
  }
}
