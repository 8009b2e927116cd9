import type { Logger } from "pino";
import type { Metrics } from "../health/metrics/metrics.ts";
import type { PoolMeasurement } from "../health/metrics/pool-gauges.ts";
import { LlamapodError } from "../protocol/errors.ts";
import type { Memory, StepEvent } from "../protocol/runner.ts";
import { Backoffs, type Backoff, type Mishap } from "./backoff.ts";
import type { Catalogue, CatalogueChange, CatalogueEntry } from "./catalogue.ts";
import { cannotBeLoaded, crashed, doesNotFit, draining, gone, nobodyIdle, notEstimated } from "./failures.ts";
import { loadCommand } from "./load-command.ts";
import { Job, type JobObserver, type JobRequest, type QueueReason } from "./job.ts";
import { Capacity, spareBytes, type CapacitySettings } from "./memory/capacity.ts";
import { Estimates, type EstimateSettings } from "./memory/estimates.ts";
import { add, fits } from "./memory/memory.ts";
import { describeModel, publicState, type ModelStatus } from "./model-status.ts";
import { Operation, Operations } from "./operations.ts";
import { forecast, plan, type Decision, type Forecast, type PlanView } from "./plan.ts";
import { Queue } from "./queue.ts";
import { Resident } from "./resident.ts";
import { RunnerFailure } from "./runner-process.ts";
import type { Runner, StartRunner } from "./runner.ts";
import { isLeaving, type RunnerState } from "./runner-state.ts";
import { Spares } from "./spares.ts";
import { Switching } from "./switching.ts";

export interface PoolSettings extends EstimateSettings, CapacitySettings {
  readonly gpu: "auto" | "off" | "required";
  readonly maxResident: number;
  readonly maxQueue: number;
  readonly maxQueuePerClient: number;
  readonly minResidencySeconds: number;
  readonly parkAfterSeconds: number;
  /** 0 is never. */
  readonly idleUnloadSeconds: number;
  /** Loaded at the start, while there is room. */
  readonly preload: readonly string[];
  /** Loaded at the start, and never made to leave. */
  readonly pinned: readonly string[];
  readonly warmSpare: "on" | "off";
}

/** What the pool asks of the catalogue. */
type Models = Pick<Catalogue, "entries" | "get" | "find">;

/** How long a runner that was asked to stop may take. */
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
  readonly operations = new Operations();
  readonly #settings: PoolSettings;
  readonly #catalogue: Models;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #spares: Spares;
  readonly #estimates: Estimates;
  readonly #capacity: Capacity;
  readonly #queue = new Queue();
  readonly #switching = new Switching();
  readonly #residents = new Map<string, Resident>();
  readonly #backoffs = new Backoffs();
  readonly #estimating = new Set<string>();
  readonly #unloads = new Map<string, Operation>();
  readonly #preloading: Set<string>;
  readonly #pinned: ReadonlySet<string>;
  /** Models that nobody needs loaded until somebody asks for them, active or pinned as they may be. */
  readonly #asleep = new Set<string>();
  readonly #lastServed = new Map<string, number>();
  /** Models whose runner has died before it began to load, and that were given another one. */
  readonly #secondTries = new Set<string>();
  readonly #listeners = new Set<(status: ModelStatus, revision: number) => void>();
  #activeModel: string | undefined;
  #revision = 0;
  #uses = 0;
  #jobMs = presumedJobMs;
  #isSettling = false;
  /** Something has happened while what happened before was being settled. */
  #isUnsettled = false;
  /** What the clients were last told of the model that is to be loaded. */
  #toldOfNext = "";
  #wakeTimer: NodeJS.Timeout | undefined;
  /** `draining`: what was accepted is still answered, nothing new is. */
  #phase: "open" | "draining" | "closed" = "open";

  constructor(settings: PoolSettings, catalogue: Models, metrics: Metrics, log: Logger, startRunner: StartRunner) {
    this.#settings = settings;
    this.#catalogue = catalogue;
    this.#metrics = metrics;
    this.#log = log;
    const idsOf = (names: readonly string[]) => new Set(names.flatMap((name) => catalogue.get(name)?.id ?? []));
    this.#preloading = idsOf(settings.preload);
    this.#pinned = idsOf(settings.pinned);
    this.#spares = new Spares(startRunner, settings.warmSpare === "on", log, (freeVideoMemory) => {
      const held = this.#heldVideoMemory();
      if (held !== undefined) this.#capacity.sawVideoMemory(freeVideoMemory, held);
    });
    this.#estimates = new Estimates(settings, (command) => this.#spares.estimate(command));
    this.#capacity = new Capacity(settings);
    metrics.observePool(() => this.#measure());
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

  /** Begins to serve, with the model that answers when a request names none. */
  open(first: CatalogueEntry | undefined): void {
    this.#setActive(first?.id);
    this.#settle();
  }

  /**
   * The catalogue's entry for a request, ready to be asked for.
   *
   * @throws {LlamapodError} `model_not_found`, or `model_load_failed` where the file is no usable model
   */
  async resolve(modelId: string | undefined): Promise<CatalogueEntry> {
    const entry = await this.find(modelId);
    if (entry.header instanceof LlamapodError) throw entry.header;
    return entry;
  }

  /** Like `resolve`, and takes what cannot be used, too. @throws {LlamapodError} `model_not_found` */
  async find(modelId: string | undefined): Promise<CatalogueEntry> {
    const id = modelId ?? this.#activeModel;
    if (id === undefined) {
      throw new LlamapodError("model_not_found", "There is no model to answer: put a GGUF file into the models folder.", {
        param: "model",
      });
    }
    return this.#catalogue.find(id);
  }

  /** Files have come, changed or gone: tells the listeners, and forgets what failed before. Without its file no model is active. */
  catalogueChanged({ added, changed, removed }: CatalogueChange): void {
    for (const id of removed) {
      this.#backoffs.forget(id);
      const resident = this.#residents.get(id);
      if (resident !== undefined) resident.isUnloading = true;
      if (id === this.#activeModel) this.#setActive(undefined);
    }
    for (const id of [...added, ...changed]) {
      const entry = this.#catalogue.get(id);
      if (entry === undefined) continue;
      this.#backoffs.forget(id);
      this.#announce(entry);
    }
    this.#settle();
  }

  /** @throws {LlamapodError} `overloaded` and `queue_share_exceeded` with the time after which a retry makes sense, `draining`, `model_load_failed` */
  submit(request: JobRequest, observer: JobObserver): void {
    if (this.#phase !== "open") throw draining();
    const job = new Job(request, observer);
    const successor = this.#successor();
    if (job.isMovable && successor !== undefined) job.moveTo(successor);
    const backoff = this.#backoffs.get(job.modelId);
    if (backoff?.resting === true && backoff.gaveUp) throw backoff.error;
    this.#checkPlace(request.client);
    this.#asleep.delete(job.modelId);
    this.#queue.add(job);
    this.#settle();
  }

  /** Ends a job with what it has: within one step if it is running, at once if it waits. An unknown id is no error. */
  cancel(id: string): void {
    const waiting = this.#queue.find(id);
    if (waiting === undefined) {
      for (const resident of this.#residents.values()) resident.cancel(id);
      return;
    }
    this.#queue.remove(waiting);
    this.#metrics.requests.cancelled("queued", 0);
    waiting.end({ outcome: "finished", id, reason: "cancelled" });
    this.#settle();
  }

  /** Makes a model the active one as soon as it has answered. Until then, and if it fails, the old one stays. */
  switchTo(entry: CatalogueEntry): Operation {
    return this.#request("switch", entry);
  }

  /** Loads a model, beside others or in the place of idle ones. Where only models at work could make room it fails. */
  load(entry: CatalogueEntry): Operation {
    return this.#request("load", entry);
  }

  /** Lets a model go as soon as it has nothing to do. */
  unload(entry: CatalogueEntry): Operation {
    const { id } = entry;
    const known = this.#unloads.get(id);
    if (known !== undefined) return known;
    const operation = new Operation("unload", id, () => {
      const resident = this.#residents.get(id);
      // It cannot be called back any more.
      if (resident === undefined || isLeaving(resident.runner.state)) return;
      resident.isUnloading = false;
      this.#unloads.delete(id);
      operation.cancelled();
      this.#settle();
    });
    this.operations.add(operation);
    const resident = this.#residents.get(id);
    this.#asleep.add(id);
    this.#preloading.delete(id);
    if (resident === undefined) operation.done();
    else {
      resident.isUnloading = true;
      this.#unloads.set(id, operation);
      operation.progressed({ phase: "draining", doneBytes: 0, totalBytes: 0 });
      this.#settle();
    }
    return operation;
  }

  /** What would have to happen for a model to be loaded now, and how much memory there is. Does nothing. */
  async forecast(entry: CatalogueEntry): Promise<{ forecast: Forecast; needed: Memory; capacity: Memory; taken: Memory }> {
    const needed = await this.#estimates.request(entry).catch((thrown: unknown) => {
      throw notEstimated(entry.id, thrown);
    });
    const view = this.#view();
    const taken = add(...view.runners.map(({ memory }) => memory));
    return { forecast: forecast(view, entry.id, needed), needed, capacity: view.capacity, taken };
  }

  /** Takes no more jobs. Running and waiting ones go on until `close`. */
  drain(): void {
    this.#phase = "draining";
  }

  /** Ends every job and every runner. */
  async close(): Promise<void> {
    this.#phase = "closed";
    clearTimeout(this.#wakeTimer);
    this.#backoffs.close();
    this.#switching.close(draining());
    for (const operation of this.#unloads.values()) operation.failed(draining());
    const residents = [...this.#residents.values()];
    const unfinished = [...this.#queue.takeWhere(() => true), ...residents.flatMap((resident) => resident.release())];
    for (const job of unfinished) job.observer.failed(draining());
    await Promise.all([this.#spares.close(), ...residents.map(({ runner }) => runner.stop(stopGraceMs))]);
  }

  #request(kind: "switch" | "load", entry: CatalogueEntry): Operation {
    if (this.#phase !== "open") throw draining();
    // Whoever asks wants it tried again.
    this.#backoffs.forget(entry.id);
    this.#asleep.delete(entry.id);
    this.#unloads.get(entry.id)?.cancel();
    const operation = this.#switching.request(kind, entry.id, (cancelled) => {
      if (cancelled.kind === "switch") this.#moveUnnamed(cancelled.modelId, this.#activeModel);
      this.#announce(entry);
      this.#settle();
    });
    this.operations.add(operation);
    this.#settle();
    return operation;
  }

  /** While one model takes the place of another, requests that name none are for the one that comes. */
  #successor(): string | undefined {
    const operation = this.#switching.current;
    const active = this.#activeModel === undefined ? undefined : this.#residents.get(this.#activeModel);
    const isActiveLeaving = active === undefined || active.closedAt !== undefined || isLeaving(active.runner.state);
    return operation?.kind === "switch" && isActiveLeaving ? operation.modelId : undefined;
  }

  /** Does what is to be done after something has happened. What that brings about is settled after it, not within it. */
  #settle(): void {
    this.#isUnsettled = true;
    if (this.#isSettling) return;
    this.#isSettling = true;
    try {
      while (this.#isUnsettled && this.#phase !== "closed") {
        this.#isUnsettled = false;
        this.#completeSwitches();
        const { decisions, wakeAt } = plan(this.#view());
        for (const decision of decisions) this.#carryOut(decision);
        if (decisions.length > 0) this.#isUnsettled = true;
        if (this.#isUnsettled) continue;
        this.#wakeAt(wakeAt);
        this.#reportProgress();
        this.#tellPositions();
        // Beside a load, too: in time for the one after it.
        if (this.#estimating.size === 0) this.#spares.warm(() => this.#isRoomForSpare());
      }
    } finally {
      this.#isSettling = false;
    }
  }

  #isRoomForSpare(): boolean {
    const taken = add(...[...this.#residents.values()].map(({ memory }) => memory));
    return fits(add(taken, { ram: spareBytes, vram: 0 }), this.#readCapacity());
  }

  /** GPU memory that our runners hold; undefined while some of them are taking it or giving it back. */
  #heldVideoMemory(): number | undefined {
    let held = 0;
    for (const { runner, memory } of this.#residents.values()) {
      if (runner.state.name === "ready") held += memory.vram;
      else if (runner.state.name !== "starting" && runner.state.name !== "prepared") return undefined;
    }
    return held;
  }

  #view(): PlanView {
    const { maxResident, minResidencySeconds, parkAfterSeconds, idleUnloadSeconds } = this.#settings;
    const residents = [...this.#residents.values()];
    const now = performance.now();
    const running = residents.flatMap(({ jobs }) => jobs);
    const waiting = this.#queue.inOrder(running, now);
    const active = this.#activeModel === undefined ? [] : [this.#activeModel];
    const wanted = [...active, ...this.#pinned, ...this.#preloading];
    const kept = wanted.filter((modelId) => !this.#asleep.has(modelId) && this.#isUsable(modelId));
    const known = this.#catalogue.entries.flatMap((entry) => {
      const memory = this.#estimates.get(entry);
      return memory === undefined ? [] : [[entry.id, memory] as const];
    });
    const readCapacity = () => this.#readCapacity();
    return {
      now,
      waiting: waiting.map(({ request: { id, priority }, modelId, since, isSuspect }) => {
        return { job: id, modelId, priority, since, isSuspect };
      }),
      runners: residents.map((resident) => resident.view(this.#pinned.has(resident.entry.id))),
      // Most of the time nothing has to be loaded, and nobody asks.
      get capacity() {
        return readCapacity();
      },
      estimates: new Map(known),
      maxResident,
      request: this.#switching.wanted,
      lastServed: this.#lastServed,
      kept,
      resting: new Set([...this.#backoffs.resting, ...this.#estimating]),
      limits: {
        minResidencyMs: minResidencySeconds * 1_000,
        parkAfterMs: parkAfterSeconds * 1_000,
        idleUnloadMs: idleUnloadSeconds * 1_000,
      },
    };
  }

  #isUsable(modelId: string): boolean {
    const header = this.#catalogue.get(modelId)?.header;
    return header !== undefined && !(header instanceof LlamapodError);
  }

  #carryOut(decision: Decision): void {
    const resident = this.#residents.get(decision.modelId);
    switch (decision.type) {
      case "estimate":
        this.#estimate(decision.modelId);
        break;
      case "start":
        this.#start(decision.modelId);
        break;
      case "refuse":
        this.#refuse(decision.modelId, decision.missing);
        break;
      case "decline":
        this.#failSwitch(decision.modelId, nobodyIdle(decision.modelId));
        break;
      case "close":
        if (resident !== undefined) resident.closedAt = performance.now();
        break;
      case "reopen":
        if (resident !== undefined) resident.closedAt = undefined;
        break;
      case "sleep":
        this.#asleep.add(decision.modelId);
        this.#metrics.models.evicted(decision.modelId, resident?.isUnloading === true ? "requested" : "idle");
        this.#stop(resident);
        break;
      case "stop":
        this.#metrics.models.evicted(decision.modelId, "room");
        this.#stop(resident);
        break;
      case "dispatch":
        this.#dispatch(decision.job, resident);
        break;
    }
  }

  #estimate(modelId: string): void {
    const entry = this.#catalogue.get(modelId);
    if (entry === undefined || entry.header instanceof LlamapodError) {
      this.#fail(modelId, entry?.header instanceof LlamapodError ? entry.header : gone(modelId));
      return;
    }
    this.#estimating.add(modelId);
    this.#announce(entry);
    this.#estimates
      .request(entry)
      .finally(() => this.#estimating.delete(modelId))
      .catch((thrown: unknown) => {
        const refused = thrown instanceof RunnerFailure && thrown.refused;
        this.#log.error({ model: modelId, err: thrown }, "model could not be loaded");
        this.#metrics.models.notLoaded(modelId, refused ? "refused" : "crashed");
        const { gaveUp, error } = this.#rest(modelId, notEstimated(modelId, thrown), refused ? "refused" : "start");
        this.#failSwitch(modelId, error);
        if (gaveUp) this.#fail(modelId, error);
        this.#announce(entry);
      })
      .finally(() => {
        this.#settle();
      });
  }

  #start(modelId: string): void {
    const entry = this.#catalogue.get(modelId);
    const estimate = entry === undefined ? undefined : this.#estimates.get(entry);
    if (entry === undefined || entry.header instanceof LlamapodError || estimate === undefined) return;
    if (this.#residents.has(modelId)) return;
    let runner: Runner;
    try {
      runner = this.#spares.take();
    } catch (thrown) {
      this.#startFailed(entry, thrown);
      return;
    }
    this.#residents.set(modelId, new Resident(entry, runner, this.#settings.slots, estimate, this.#metrics, ++this.#uses));
    runner.load(modelId, loadCommand(entry, entry.header, this.#settings), {
      stateChanged: ({ state }) => {
        this.#runnerChanged(modelId, runner, state);
      },
      stepped: (_, step) => {
        this.#stepped(modelId, runner, step);
      },
      beat: (loopDelays) => {
        this.#metrics.runnerLoopDelays(loopDelays);
      },
    });
    this.#announce(entry);
  }

  /** The machine could not even start a process. */
  #startFailed(entry: CatalogueEntry, thrown: unknown): void {
    this.#log.error({ model: entry.id, err: thrown }, "no runner could be started");
    this.#metrics.models.notLoaded(entry.id, "crashed");
    const cause = thrown instanceof Error ? thrown.message : String(thrown);
    const { gaveUp, error } = this.#rest(entry.id, cannotBeLoaded(entry.id, cause), "start");
    this.#failSwitch(entry.id, error);
    if (gaveUp) this.#fail(entry.id, error);
    this.#announce(entry);
  }

  /** A runner that has served may serve again; one that is loading cannot be called back. */
  #stop(resident: Resident | undefined): void {
    if (resident === undefined) return;
    const { runner } = resident;
    const stopped = this.#spares.areKept && runner.state.name === "ready" ? runner.unload(stopGraceMs) : runner.stop(stopGraceMs);
    stopped.catch(this.#unexpected);
  }

  #refuse(modelId: string, missing: Memory): void {
    const error = doesNotFit(modelId, missing);
    this.#log.error({ model: modelId, missing }, "model does not fit into memory");
    this.#metrics.models.notLoaded(modelId, "memory");
    this.#rest(modelId, error, "refused");
    this.#fail(modelId, error);
    const entry = this.#catalogue.get(modelId);
    if (entry !== undefined) this.#announce(entry);
  }

  #dispatch(id: string, resident: Resident | undefined): void {
    const job = this.#queue.find(id);
    if (resident?.runner.state.name !== "ready" || job === undefined) return;
    this.#queue.remove(job);
    this.#lastServed.set(resident.entry.id, performance.now());
    resident.take(job, ++this.#uses);
  }

  #stepped(modelId: string, runner: Runner, step: StepEvent): void {
    const resident = this.#residents.get(modelId);
    if (resident?.runner !== runner) return;
    const wasProving = resident.isProving;
    const ended = resident.stepped(step);
    for (const job of ended) this.#jobMs += jobSmoothing * (job.servedMs - this.#jobMs);
    if (ended.length > 0) this.#lastServed.set(modelId, performance.now());
    // One that has answered is well again; to have been loaded proves less.
    if (ended.length > 0) this.#backoffs.forget(modelId);
    // What makes room may be waited for by the token.
    if (ended.length > 0 || resident.closedAt !== undefined || wasProving) this.#settle();
  }

  #runnerChanged(modelId: string, runner: Runner, state: RunnerState): void {
    const resident = this.#residents.get(modelId);
    if (resident?.runner !== runner) return;
    resident.entered(state.name);
    if (resident.hasBegunToLoad) this.#secondTries.delete(modelId);
    if (state.name === "ready") this.#becameReady(resident, state);
    if (state.name === "prepared" && resident.hasBeenReady) this.#runnerUnloaded(resident);
    if (state.name === "stopped") this.#runnerStopped(resident);
    if (state.name === "failed") this.#runnerFailed(resident, state);
    this.#announce(resident.entry);
    this.#settle();
  }

  #becameReady(resident: Resident, state: RunnerState & { name: "ready" }): void {
    const { id } = resident.entry;
    const seconds = resident.becameReady();
    // What it holds of an earlier model would be learnt as this one's.
    if (!this.#spares.hasBeenUsed(resident.runner)) this.#estimates.learn(resident.entry, state.model.memory);
    this.#backoffs.get(id)?.loaded();
    this.#preloading.delete(id);
    this.#metrics.models.loaded(id, seconds);
    this.#log.info({ model: id, seconds: Number(seconds.toFixed(2)), ...state.model }, "model is ready");
  }

  #runnerUnloaded(resident: Resident): void {
    this.#runnerStopped(resident);
    this.#spares.takeBack(resident.runner);
  }

  #runnerStopped(resident: Resident): void {
    const { id } = resident.entry;
    this.#residents.delete(id);
    this.#metrics.models.runnerExited(id, "requested", resident.hasBeenReady);
    this.#lastServed.set(id, performance.now());
    for (const job of resident.release()) {
      if (job.isCancelled) job.end({ outcome: "finished", id: job.request.id, reason: "cancelled" });
      else this.#park(job);
    }
    this.#unloads.get(id)?.done();
    this.#unloads.delete(id);
  }

  #park(job: Job): void {
    this.#metrics.models.parked(job.modelId);
    job.parked();
    this.#queue.add(job);
  }

  #runnerFailed(resident: Resident, { cause, refused, exit }: RunnerState & { name: "failed" }): void {
    const { id } = resident.entry;
    this.#residents.delete(id);
    const wasServing = resident.hasBeenReady;
    this.#metrics.models.runnerExited(id, exit, wasServing);
    this.#unloads.get(id)?.done();
    this.#unloads.delete(id);
    if (!resident.hasBegunToLoad && !refused && !this.#secondTries.has(id)) {
      // It may have stood by, and died of something else than this model.
      this.#log.warn({ model: id, cause }, "runner died before it began to load, another one is started");
      this.#secondTries.add(id);
      return;
    }
    if (!wasServing) this.#metrics.models.notLoaded(id, refused ? "refused" : "crashed");
    this.#log.error({ model: id, cause }, wasServing ? "runner died" : "model could not be loaded");
    this.#releaseCrashed(resident, cause);
    const mishap = refused ? "refused" : wasServing ? "death" : "start";
    const { gaveUp, error } = this.#rest(id, cannotBeLoaded(id, cause), mishap);
    // A switch is tried once: the old model is there to go back to.
    if (!wasServing) this.#failSwitch(id, error);
    if (gaveUp) this.#fail(id, error);
  }

  #releaseCrashed(resident: Resident, cause: string): void {
    const jobs = resident.release();
    if (jobs.length > 0) this.#lastServed.set(resident.entry.id, performance.now());
    for (const job of jobs) {
      if (job.isCancelled) job.end({ outcome: "finished", id: job.request.id, reason: "cancelled" });
      else if (job.crashed(jobs.length === 1)) this.#queue.add(job);
      else job.observer.failed(crashed(resident.entry.id, cause));
    }
  }

  /** Keeps a model from being started again at once. */
  #rest(modelId: string, error: LlamapodError, mishap: Mishap): Backoff {
    return this.#backoffs.rest(modelId, error, mishap, () => {
      this.#settle();
    });
  }

  /** Fails everything that waits for a model. */
  #fail(modelId: string, error: LlamapodError): void {
    this.#preloading.delete(modelId);
    this.#failSwitch(modelId, error);
    for (const job of this.#queue.takeWhere((waiting) => waiting.modelId === modelId)) job.observer.failed(error);
  }

  #failSwitch(modelId: string, error: LlamapodError): void {
    const kind = this.#switching.current?.kind;
    if (!this.#switching.failed(modelId, error) || kind !== "switch") return;
    this.#metrics.models.switched("failed");
    this.#log.error({ model: modelId, reason: error.message, active: this.#activeModel }, "switch failed, the old model stays");
    this.#moveUnnamed(modelId, this.#activeModel);
  }

  #completeSwitches(): void {
    for (let operation = this.#switching.current; operation !== undefined; operation = this.#switching.current) {
      if (this.#residents.get(operation.modelId)?.runner.state.name !== "ready") return;
      if (operation.kind === "switch") {
        const previous = this.#activeModel;
        this.#setActive(operation.modelId);
        if (previous !== undefined) this.#moveUnnamed(previous, operation.modelId);
        this.#metrics.models.switched("ok");
        this.#log.info({ from: previous, to: operation.modelId }, "active model switched");
      }
      this.#switching.succeeded();
    }
  }

  /** Requests that name no model, and have not been started, follow the active one. */
  #moveUnnamed(from: string, to: string | undefined): void {
    if (to === undefined || from === to) return;
    for (const job of this.#queue.jobs) if (job.isMovable && job.modelId === from) job.moveTo(to);
  }

  #setActive(modelId: string | undefined): void {
    const previous = this.#activeModel;
    this.#activeModel = modelId;
    if (modelId !== undefined) this.#asleep.delete(modelId);
    for (const id of new Set([previous, modelId])) {
      const changed = id === undefined ? undefined : this.#catalogue.get(id);
      if (changed !== undefined) this.#announce(changed);
    }
  }

  #reportProgress(): void {
    const operation = this.#switching.current;
    const entry = operation === undefined ? undefined : this.#catalogue.get(operation.modelId);
    if (operation === undefined || entry === undefined || entry.header instanceof LlamapodError) return;
    const totalBytes = entry.header.fileBytes;
    const state = this.#residents.get(entry.id)?.runner.state;
    const closing = this.#closing();
    const phase = state === undefined ? (closing.length > 0 ? "draining" : "planning") : publicState(state);
    const fraction = state?.name === "loading" ? state.progress : state?.name === "warming" ? 1 : 0;
    operation.progressed({ phase, doneBytes: Math.round(fraction * totalBytes), totalBytes });
    const told = [operation.id, phase, ...closing].join(" ");
    if (state === undefined && told !== this.#toldOfNext) this.#announce(entry);
    this.#toldOfNext = told;
  }

  /** Models that make room. */
  #closing(): string[] {
    const residents = [...this.#residents.values()];
    return residents.filter(({ closedAt }) => closedAt !== undefined).map(({ entry }) => entry.id);
  }

  #wakeAt(time: number): void {
    clearTimeout(this.#wakeTimer);
    if (time === Infinity) return;
    this.#wakeTimer = setTimeout(
      () => {
        this.#settle();
      },
      Math.max(1, Math.ceil(time - performance.now())),
    ).unref();
  }

  #tellPositions(): void {
    const running = [...this.#residents.values()].flatMap(({ jobs }) => jobs);
    for (const [index, job] of this.#queue.inOrder(running, performance.now()).entries()) {
      job.queuedAt(index + 1, this.#reasonToWait(job));
    }
  }

  #reasonToWait(job: Job): QueueReason {
    const resident = this.#residents.get(job.modelId);
    if (resident?.runner.state.name === "ready") return resident.closedAt === undefined ? "slot" : "memory";
    const isSomebodyInTheWay = [...this.#residents.values()].some(({ runner }) => runner.state.name === "ready");
    return resident === undefined && isSomebodyInTheWay && !this.#estimating.has(job.modelId) ? "memory" : "loading";
  }

  /** @throws {LlamapodError} `overloaded`, `queue_share_exceeded` */
  #checkPlace(client: string): void {
    const { maxQueue, maxQueuePerClient, slots } = this.#settings;
    const retryAfter = (waiting: number) => ({ retryAfterMs: Math.max(1_000, Math.round((this.#jobMs * waiting) / slots)) });
    if (this.#queue.size >= maxQueue) {
      const message = `${maxQueue} requests are waiting already, which is the limit.`;
      throw new LlamapodError("overloaded", message, retryAfter(this.#queue.size));
    }
    const own = this.#queue.countOf(client);
    if (own < maxQueuePerClient) return;
    const message = `${own} of your requests are waiting already, which is your share of the queue. Wait for one of them to begin.`;
    throw new LlamapodError("queue_share_exceeded", message, retryAfter(own));
  }

  #status(entry: CatalogueEntry): ModelStatus {
    const resident = this.#residents.get(entry.id);
    const isNext = entry.id === this.#switching.current?.modelId;
    return describeModel(entry, {
      isActive: entry.id === this.#activeModel,
      memory: resident?.memory ?? this.#estimates.get(entry),
      runner: resident?.runner.state,
      isAwaited: this.#estimating.has(entry.id) || isNext,
      waitsFor: isNext ? this.#closing() : [],
      failure: this.#backoffs.get(entry.id)?.error,
    });
  }

  #announce(entry: CatalogueEntry): void {
    this.#revision++;
    const status = this.#status(entry);
    for (const listener of this.#listeners) listener(status, this.#revision);
  }

  #measure(): PoolMeasurement {
    const residents = [...this.#residents.values()];
    return {
      waiting: this.#queue.jobs.map(({ modelId, waitsFor }) => ({ modelId, reason: waitsFor })),
      queueLimit: this.#settings.maxQueue,
      models: this.#catalogue.entries.map((entry) => {
        const { id, state } = this.#status(entry);
        return { modelId: id, state, estimate: this.#estimates.get(entry) };
      }),
      runners: residents.map((resident) => resident.measure()),
      capacity: this.#readCapacity(),
      isGpuExpected: this.#settings.gpu === "required",
    };
  }

  #readCapacity(): Memory {
    const pids = [...this.#residents.values()].flatMap(({ runner }) => runner.pid ?? []);
    return this.#capacity.read([...pids, ...this.#spares.pids]);
  }

  readonly #unexpected = (err: unknown): void => {
    this.#log.error({ err }, "a runner could not be stopped");
  };
}
