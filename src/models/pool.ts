import type { Logger } from "pino";
import { LlamapodError } from "../protocol/errors.ts";
import type { StepEvent } from "../protocol/runner.ts";
import type { ModelState } from "../protocol/stream.ts";
import type { Metrics, PoolMeasurement } from "../health/metrics.ts";
import { Backoff } from "./backoff.ts";
import type { Catalogue, CatalogueEntry } from "./catalogue.ts";
import { metadataString, type GgufHeader } from "./gguf/header.ts";
import { Job, type JobObserver, type JobRequest, type QueueReason } from "./job.ts";
import { plan, type Decision } from "./plan.ts";
import { Resident } from "./resident.ts";
import { RunnerProcess, type RunnerObserver } from "./runner-process.ts";
import type { RunnerState } from "./runner-state.ts";

export interface PoolSettings {
  readonly contextSize: number;
  readonly slots: number;
  readonly batchSize: number;
  readonly threads: number;
  readonly gpu: "auto" | "off" | "required";
  readonly maxResident: number;
  readonly maxQueue: number;
}

export interface ModelStatus {
  readonly id: string;
  readonly state: ModelState;
  readonly progress: number | undefined;
  readonly reason: string | undefined;
  readonly active: boolean;
  readonly sizeBytes: number;
}

/** How long a runner that was asked to stop may take. It has no job by then. */
const stopGraceMs = 5_000;

/** Used for the first estimate of `Retry-After`, before any job has ended. */
const presumedJobMs = 5_000;

/** Weight of the newest job in the estimate. */
const jobSmoothing = 0.2;

/**
 * The loaded models and the queue before them. One place owns the state: every event changes it and then asks `plan` what
 * to do next.
 */
export class Pool {
  readonly #settings: PoolSettings;
  readonly #catalogue: Catalogue;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #residents = new Map<string, Resident>();
  readonly #backoffs = new Map<string, Backoff>();
  readonly #listeners = new Set<(status: ModelStatus, revision: number) => void>();
  readonly #observer: RunnerObserver;
  #waiting: Job[] = [];
  #activeModel: string | undefined;
  #switchingTo: string | undefined;
  #revision = 0;
  #uses = 0;
  #jobMs = presumedJobMs;
  /** `draining`: what was accepted is still answered, nothing new is. */
  #phase: "open" | "draining" | "closed" = "open";

  constructor(settings: PoolSettings, catalogue: Catalogue, metrics: Metrics, log: Logger) {
    this.#settings = settings;
    this.#catalogue = catalogue;
    this.#metrics = metrics;
    this.#log = log;
    this.#observer = {
      stateChanged: (runner) => {
        this.#runnerChanged(runner);
      },
      stepped: (runner, step) => {
        this.#stepped(runner, step);
      },
    };
    metrics.observeModels(() => this.#measure());
  }

  get activeModel(): string | undefined {
    return this.#activeModel;
  }

  get models(): ModelStatus[] {
    return this.#catalogue.entries.map((entry) => this.#status(entry));
  }

  /** @param listener told of every change of any model's state, with a number that grows */
  onModelChange(listener: (status: ModelStatus, revision: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Makes a model the one that answers when a request names none, and loads it: beside others, or in the place of one. */
  activate(entry: CatalogueEntry): void {
    const previous = this.#activeModel;
    this.#activeModel = entry.id;
    this.#switchingTo = this.#residents.has(entry.id) ? undefined : entry.id;
    for (const id of new Set([previous, entry.id])) {
      const changed = id === undefined ? undefined : this.#catalogue.get(id);
      if (changed !== undefined) this.#announce(changed);
    }
    this.#settle();
  }

  /**
   * The catalogue's entry for a request, ready to be asked for.
   *
   * @throws {LlamapodError} `model_not_found`, or `model_load_failed` where the file is no usable model
   */
  async resolve(modelId: string | undefined): Promise<CatalogueEntry> {
    const id = modelId ?? this.#activeModel;
    if (id === undefined) {
      throw new LlamapodError("model_not_found", "There is no model to answer: put a GGUF file into the models folder.", {
        param: "model",
      });
    }
    const entry = await this.#catalogue.find(id);
    if (entry.header instanceof LlamapodError) throw entry.header;
    return entry;
  }

  /** @throws {LlamapodError} `overloaded` with the time after which a retry makes sense, `draining`, `model_load_failed` */
  submit(request: JobRequest, observer: JobObserver): void {
    if (this.#phase !== "open") throw draining();
    const backoff = this.#backoffs.get(request.modelId);
    if (backoff?.resting === true && backoff.gaveUp) throw backoff.error(request.modelId);
    if (this.#waiting.length >= this.#settings.maxQueue) throw this.#overloaded();
    this.#waiting.push(new Job(request, observer));
    this.#settle();
  }

  /** Ends a job with what it has: within one step if it is running, at once if it waits. An unknown id is no error. */
  cancel(id: string): void {
    const waiting = this.#waiting.find((job) => job.request.id === id);
    if (waiting === undefined) {
      for (const resident of this.#residents.values()) resident.cancel(id);
      return;
    }
    this.#waiting = this.#waiting.filter((job) => job !== waiting);
    waiting.end({ outcome: "finished", id, reason: "cancelled" });
    this.#settle();
  }

  /** Takes no more jobs. Running and waiting ones go on until `close`. */
  drain(): void {
    this.#phase = "draining";
  }

  /** Ends every job and every runner. */
  async close(): Promise<void> {
    this.#phase = "closed";
    for (const backoff of this.#backoffs.values()) backoff.cancel();
    const residents = [...this.#residents.values()];
    const unfinished = [...this.#waiting, ...residents.flatMap((resident) => resident.release())];
    this.#waiting = [];
    for (const job of unfinished) job.observer.failed(draining());
    await Promise.all(residents.map(({ runner }) => runner.stop(stopGraceMs)));
  }

  #settle(): void {
    for (let decisions = this.#plan(); decisions.length > 0; decisions = this.#plan()) {
      for (const decision of decisions) this.#carryOut(decision);
    }
    this.#tellPositions();
  }

  #plan(): Decision[] {
    const resting = [...this.#backoffs].filter(([, backoff]) => backoff.resting).map(([modelId]) => modelId);
    return plan({
      waiting: this.#waiting.map(({ request }) => ({ job: request.id, modelId: request.modelId })),
      runners: [...this.#residents.values()].map((resident) => resident.view()),
      maxResident: this.#phase === "closed" ? 0 : this.#settings.maxResident,
      activeModel: this.#activeModel,
      switchingTo: this.#switchingTo,
      resting: new Set(resting),
    });
  }

  #carryOut(decision: Decision): void {
    switch (decision.type) {
      case "start":
        this.#start(decision.modelId);
        break;
      case "stop":
        this.#residents.get(decision.modelId)?.runner.stop(stopGraceMs).catch(this.#unexpected);
        break;
      case "dispatch":
        this.#dispatch(decision.job, decision.modelId);
        break;
    }
  }

  #start(modelId: string): void {
    const entry = this.#catalogue.get(modelId);
    if (entry === undefined || entry.header instanceof LlamapodError) {
      this.#giveUp(modelId, new LlamapodError("model_not_found", `The model ${modelId} is gone.`, { param: "model" }));
      if (this.#activeModel === modelId) this.#activeModel = undefined;
      return;
    }
    const { contextSize, slots, batchSize, threads, gpu } = this.#settings;
    const command = {
      type: "load" as const,
      path: entry.path,
      contextSize,
      slots,
      batchSize,
      threads,
      gpu,
      template: metadataString(entry.header, "tokenizer.chat_template"),
      vocabularySize: vocabularySize(entry.header),
    };
    if (this.#switchingTo === modelId) this.#switchingTo = undefined;
    const runner = new RunnerProcess(modelId, command, this.#log, this.#observer);
    this.#residents.set(modelId, new Resident(entry, runner, slots, this.#metrics, ++this.#uses));
    this.#announce(entry);
  }

  #dispatch(id: string, modelId: string): void {
    const resident = this.#residents.get(modelId);
    const job = this.#waiting.find((candidate) => candidate.request.id === id);
    if (resident === undefined || job === undefined) return;
    this.#waiting = this.#waiting.filter((candidate) => candidate !== job);
    resident.take(job, ++this.#uses);
  }

  #stepped(runner: RunnerProcess, step: StepEvent): void {
    const resident = this.#residents.get(runner.modelId);
    if (resident?.runner !== runner) return;
    const ended = resident.stepped(step);
    for (const job of ended) this.#jobMs += jobSmoothing * (performance.now() - job.acceptedAt - this.#jobMs);
    if (ended.length > 0) this.#settle();
  }

  #runnerChanged(runner: RunnerProcess): void {
    const resident = this.#residents.get(runner.modelId);
    if (resident?.runner !== runner) return;
    const state = runner.state;
    if (state.name === "ready") this.#becameReady(resident, state);
    if (state.name === "stopped") this.#residents.delete(runner.modelId);
    if (state.name === "failed") this.#runnerFailed(resident, state);
    this.#announce(resident.entry);
    this.#settle();
  }

  #becameReady(resident: Resident, state: RunnerState & { name: "ready" }): void {
    const { modelId } = resident.runner;
    const seconds = resident.becameReady();
    this.#backoffs.delete(modelId);
    this.#metrics.modelLoads.inc({ model: modelId, outcome: "ok" });
    this.#metrics.modelLoadSeconds.observe({ model: modelId }, seconds);
    this.#log.info({ model: modelId, seconds: Number(seconds.toFixed(2)), ...state.model }, "model is ready");
  }

  #runnerFailed(resident: Resident, { cause, refused }: RunnerState & { name: "failed" }): void {
    const { modelId } = resident.runner;
    this.#residents.delete(modelId);
    const wasServing = resident.hasBeenReady;
    if (wasServing) this.#metrics.runnerRestarts.inc({ model: modelId });
    else this.#metrics.modelLoads.inc({ model: modelId, outcome: "failed" });
    this.#log.error({ model: modelId, cause }, wasServing ? "runner died" : "model could not be loaded");
    const interrupted: Job[] = [];
    for (const job of resident.release()) {
      if (job.isCancelled) job.end({ outcome: "finished", id: job.request.id, reason: "cancelled" });
      else if (job.interrupt()) interrupted.push(job);
      else job.observer.failed(crashed(modelId, cause));
    }
    this.#waiting = [...interrupted, ...this.#waiting];

    const backoff = this.#backoffs.get(modelId) ?? new Backoff();
    this.#backoffs.set(modelId, backoff);
    backoff.failed(cause, refused, () => {
      this.#settle();
    });
    if (backoff.gaveUp) this.#giveUp(modelId, backoff.error(modelId));
  }

  /** Fails what waits for a model. */
  #giveUp(modelId: string, error: LlamapodError): void {
    const hopeless = this.#waiting.filter((job) => job.request.modelId === modelId);
    this.#waiting = this.#waiting.filter((job) => job.request.modelId !== modelId);
    for (const job of hopeless) job.observer.failed(error);
  }

  #tellPositions(): void {
    for (const [index, job] of this.#waiting.entries()) job.queuedAt(index + 1, this.#reasonToWait(job));
  }

  #reasonToWait(job: Job): QueueReason {
    const resident = this.#residents.get(job.request.modelId);
    if (resident === undefined) return this.#residents.size < this.#settings.maxResident ? "loading" : "memory";
    return resident.runner.state.name === "ready" ? "slot" : "loading";
  }

  #overloaded(): LlamapodError {
    const { maxQueue, slots } = this.#settings;
    const retryAfterMs = Math.max(1_000, Math.round((this.#jobMs * this.#waiting.length) / slots));
    return new LlamapodError("overloaded", `${maxQueue} requests are waiting already, which is the limit.`, { retryAfterMs });
  }

  #status(entry: CatalogueEntry): ModelStatus {
    const { id, header } = entry;
    const common = { id, active: id === this.#activeModel, sizeBytes: header instanceof LlamapodError ? 0 : header.fileBytes };
    if (header instanceof LlamapodError) return { ...common, state: "invalid", progress: undefined, reason: header.message };
    const state = this.#residents.get(id)?.runner.state;
    const backoff = this.#backoffs.get(id);
    if (state === undefined && backoff !== undefined)
      return { ...common, state: "failed", progress: undefined, reason: backoff.cause };
    const progress = state?.name === "loading" ? state.progress : undefined;
    return { ...common, state: state?.name ?? "available", progress, reason: undefined };
  }

  #announce(entry: CatalogueEntry): void {
    this.#revision++;
    const status = this.#status(entry);
    for (const listener of this.#listeners) listener(status, this.#revision);
  }

  #measure(): PoolMeasurement {
    const running = [...this.#residents.values()].map((resident) => resident.measure());
    return { waiting: this.#waiting.map(({ request }) => request.modelId), running };
  }

  readonly #unexpected = (err: unknown): void => {
    this.#log.error({ err }, "a runner could not be stopped");
  };
}

function draining(): LlamapodError {
  return new LlamapodError("draining", "The server is shutting down.", { retryAfterMs: 5_000 });
}

function crashed(modelId: string, cause: string): LlamapodError {
  const message = `The runner of ${modelId} died twice under this generation, which is held to be the reason (${cause}).`;
  return new LlamapodError("runner_crashed", message);
}

function vocabularySize(header: GgufHeader): number {
  const tokens = header.metadata.get("tokenizer.ggml.tokens");
  return typeof tokens === "object" ? tokens.length : 0;
}
