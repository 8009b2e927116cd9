import type { Metrics } from "../health/metrics/metrics.ts";
import type { RunnerMetrics } from "../health/metrics/model-metrics.ts";
import type { PoolMeasurement } from "../health/metrics/pool-gauges.ts";
import type { EndedEvent, LoadedModel, Memory, StepEvent } from "../protocol/runner.ts";
import type { CatalogueEntry } from "./catalogue.ts";
import type { Job } from "./job.ts";
import { larger } from "./memory/memory.ts";
import type { RunnerView } from "./plan-view.ts";
import type { Runner } from "./runner.ts";
import { isLeaving, type RunnerState } from "./runner-state.ts";

/** A model that is loaded, or on its way in or out: its runner, and the jobs that it works on. */
export class Resident {
  readonly entry: CatalogueEntry;
  readonly runner: Runner;
  readonly startedAt = performance.now();
  /** It makes room for another model: since when. */
  closedAt: number | undefined;
  /** It goes as soon as it has nothing to do. */
  isUnloading = false;
  readonly #slots: number;
  #memory: Memory;
  readonly #metrics: Metrics;
  readonly #instruments: RunnerMetrics;
  readonly #jobs = new Map<string, Job>();
  /** Jobs that have not got a token here yet. */
  readonly #reading = new Set<string>();
  /** In which part of its load it is, and since when. */
  #loadPhase: { readonly name: "spawn" | "weights" | "warmup"; readonly since: number };
  #readyAt: number | undefined;
  #idleSince = 0;
  #readUntil = 0;
  #hasWorked = false;
  /** Grows with every use in the pool. */
  #lastUsed: number;

  constructor(entry: CatalogueEntry, runner: Runner, slots: number, estimate: Memory, metrics: Metrics, use: number) {
    this.entry = entry;
    this.runner = runner;
    this.#slots = slots;
    this.#memory = estimate;
    this.#metrics = metrics;
    this.#instruments = metrics.models.runner(entry.id);
    this.#loadPhase = { name: "spawn", since: this.startedAt };
    this.#lastUsed = use;
  }

  get jobs(): readonly Job[] {
    return [...this.#jobs.values()];
  }

  /** It works on a job under which another runner has died. */
  get isProving(): boolean {
    return this.jobs.some(({ isSuspect }) => isSuspect);
  }

  /** It has got as far as to open the model's file. */
  get hasBegunToLoad(): boolean {
    return this.#loadPhase.name !== "spawn";
  }

  get hasBeenReady(): boolean {
    return this.#readyAt !== undefined;
  }

  /** How long it took until it was ready, in milliseconds; 0 until then. */
  get loadMs(): number {
    return Math.max(0, (this.#readyAt ?? 0) - this.startedAt);
  }

  /** What it is expected to take, or takes if that is more, until it is gone. */
  get memory(): Memory {
    return this.#memory;
  }

  /** Times the parts of the load. */
  entered(state: RunnerState["name"]): void {
    const next = state === "loading" ? "weights" : state === "warming" ? "warmup" : undefined;
    if (state !== "ready" && (next === undefined || next === this.#loadPhase.name)) return;
    const now = performance.now();
    this.#metrics.models.loadPhase(this.entry.id, this.#loadPhase.name, (now - this.#loadPhase.since) / 1_000);
    if (next !== undefined) this.#loadPhase = { name: next, since: now };
  }

  becameReady({ memory }: LoadedModel): void {
    this.#memory = larger(memory, this.#memory);
    this.#readyAt = performance.now();
    this.#idleSince = this.#readyAt;
  }

  take(job: Job, use: number): void {
    this.#jobs.set(job.request.id, job);
    this.#reading.add(job.request.id);
    this.#hasWorked = true;
    this.#lastUsed = use;
    job.taken();
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
    if (step.prefilled > 0) this.#instruments.read(step.prefilled);
    for (const started of step.started) this.#started(started);
    for (const output of step.outputs) this.#produced(output, step.at);
    return step.ended.flatMap((ended) => this.#ended(ended));
  }

  #started({ id, promptTokens, cachedTokens }: StepEvent["started"][number]): void {
    const job = this.#jobs.get(id);
    if (job === undefined) return;
    const loadedAt = this.#readyAt ?? 0;
    const waitedSince = job.hasStarted ? job.since : job.acceptedAt;
    const loadMs = Math.max(0, loadedAt - Math.max(waitedSince, this.startedAt));
    if (job.hasStarted) {
      job.resume({ loadedAt, loadMs });
      return;
    }
    job.start({ promptTokens, cachedTokens, loadedAt, loadMs });
    this.#instruments.started(job.queueMs / 1_000, promptTokens, cachedTokens);
  }

  #produced({ id, text, tokens }: StepEvent["outputs"][number], at: number): void {
    const job = this.#jobs.get(id);
    if (job === undefined) return;
    if (tokens.length > 0) this.#hasRead(id);
    const { isFirst, gapMs } = job.produce(text, tokens, at);
    this.#instruments.generated(tokens.length);
    if (isFirst) this.#instruments.prefilled(job.prefillMs / 1_000);
    if (gapMs !== undefined) this.#instruments.interToken(gapMs / 1_000);
  }

  #ended(ended: EndedEvent): Job[] {
    const job = this.#jobs.get(ended.id);
    if (job === undefined) return [];
    this.#jobs.delete(ended.id);
    const phase = this.#hasRead(ended.id) ? "prefill" : "decode";
    this.#idleSince = performance.now();
    if (job.hasStarted) {
      const { prompt_tokens: promptTokens, completion_tokens: generatedTokens } = job.usage;
      const { decodedTokens, decodeMs } = job;
      this.#instruments.ended({ promptTokens, generatedTokens, decodedTokens, decodeSeconds: decodeMs / 1_000 });
    }
    if (job.isCancelled) this.#metrics.requests.cancelled(phase, job.cancelledForMs / 1_000);
    job.end(ended);
    return [job];
  }

  /** @returns whether it had not until now */
  #hasRead(id: string): boolean {
    const wasReading = this.#reading.delete(id);
    if (wasReading && this.#reading.size === 0) this.#readUntil = performance.now();
    return wasReading;
  }

  view(isPinned: boolean, isSoonAskedAgain: boolean): RunnerView {
    const { state } = this.runner;
    return {
      modelId: this.entry.id,
      phase: state.name === "ready" ? "ready" : isLeaving(state) ? "leaving" : "loading",
      memory: this.memory,
      freeSlots: this.#slots - this.#jobs.size,
      runningJobs: this.#jobs.size,
      lastUsed: this.#lastUsed,
      readyAt: this.#readyAt ?? 0,
      loadMs: this.loadMs,
      idleSince: this.#idleSince,
      hasWorked: this.#hasWorked,
      isSoonAskedAgain,
      isReading: this.#reading.size > 0,
      readUntil: this.#readUntil,
      isProving: this.isProving,
      closedAt: this.closedAt,
      isPinned,
      isUnloading: this.isUnloading,
    };
  }

  measure(): PoolMeasurement["runners"][number] {
    const { state, statistics } = this.runner;
    const loaded = state.name === "ready" ? state.model : undefined;
    return {
      modelId: this.entry.id,
      runningJobs: this.#jobs.size,
      slots: this.#slots,
      busySlots: statistics.busySlots,
      backend: loaded?.backend,
      cachedTokens: statistics.cachedTokens,
      contextTokens: loaded === undefined ? 0 : loaded.contextSize * loaded.slots,
      memory: loaded?.memory ?? this.memory,
    };
  }
}
