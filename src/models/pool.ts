import type { Logger } from "pino";
import type { Metrics } from "../health/metrics/metrics.ts";
import { LlamapodError } from "../protocol/errors.ts";
import type { Memory, VideoMemory } from "../protocol/runner.ts";
import type { CatalogueChange, CatalogueEntry } from "./catalogue.ts";
import { cannotBeLoaded, crashed, draining, nobodyIdle } from "./failures.ts";
import { Job, type JobObserver, type JobRequest } from "./job.ts";
import { Keeping } from "./keeping.ts";
import { Loads, type LoadsUser, type Models } from "./loads.ts";
import { Capacity, type CapacitySettings } from "./memory/capacity.ts";
import { Estimates, type EstimateSettings } from "./memory/estimates.ts";
import { add, fits } from "./memory/memory.ts";
import { ModelBoard, type ModelListener } from "./model-board.ts";
import type { ModelStatus } from "./model-status.ts";
import type { Operation, Operations } from "./operations.ts";
import { Operator } from "./operator.ts";
import { forecast, plan, type Decision, type Forecast } from "./plan.ts";
import type { PlanView } from "./plan-view.ts";
import { poolView, type ResidencySettings } from "./pool-view.ts";
import { Residents, type Death, type ResidentsUser } from "./residents.ts";
import type { Resident } from "./resident.ts";
import type { StartRunner } from "./runner.ts";
import { Spares } from "./spares.ts";
import { Waiting, type WaitingSettings } from "./waiting.ts";

export interface PoolSettings extends EstimateSettings, CapacitySettings, ResidencySettings, WaitingSettings {
  /** A GPU is to compute. */
  readonly isGpuExpected: boolean;
  /** Loaded at the start, while there is room. */
  readonly preload: readonly string[];
  /** Loaded at the start, and never made to leave. */
  readonly pinned: readonly string[];
  readonly warmSpare: "on" | "off";
}

/**
 * The loaded models and the queue before them. One place owns the state: every event changes it and then asks `plan` what
 * to do next.
 */
export class Pool {
  readonly #settings: PoolSettings;
  readonly #catalogue: Models;
  readonly #metrics: Metrics;
  readonly #spares: Spares;
  readonly #estimates: Estimates;
  readonly #capacity: Capacity;
  readonly #residents: Residents;
  readonly #operator: Operator;
  readonly #loads: Loads;
  readonly #board: ModelBoard;
  readonly #waiting: Waiting;
  readonly #keeping: Keeping;
  #isSettling = false;
  /** Something has happened while what happened before was being settled. */
  #isUnsettled = false;
  #wakeTimer: NodeJS.Timeout | undefined;
  /** As a runner has seen them last. */
  #gpus: VideoMemory = { gpus: 0, free: 0, perRunner: 0 };
  /** `draining`: what was accepted is still answered, nothing new is. */
  #phase: "open" | "draining" | "closed" = "open";

  constructor(settings: PoolSettings, catalogue: Models, metrics: Metrics, log: Logger, startRunner: StartRunner) {
    this.#settings = settings;
    this.#catalogue = catalogue;
    this.#metrics = metrics;
    const idsOf = (names: readonly string[]) => names.flatMap((name) => catalogue.get(name)?.id ?? []);
    this.#keeping = new Keeping(idsOf(settings.preload), idsOf(settings.pinned));
    this.#waiting = new Waiting(settings);
    this.#capacity = new Capacity(settings);
    this.#spares = new Spares(startRunner, settings.warmSpare === "on", log, (seen) => {
      this.#sawVideoMemory(seen);
    });
    this.#estimates = new Estimates(settings, (command) => this.#spares.estimate(command));
    this.#residents = new Residents(settings, this.#spares, metrics, log, this.#runnerEvents());
    this.#loads = new Loads(catalogue, this.#estimates, this.#residents, metrics, log, this.#loadEvents());
    this.#operator = new Operator(this.#residents, this.#waiting.queue, this.#keeping, metrics, log, this.#loadEvents());
    this.#board = new ModelBoard(catalogue, this.#residents, this.#estimates, this.#loads, this.#operator);
    metrics.observePool(() =>
      this.#board.measure(this.#waiting.queue.jobs, {
        queueLimit: settings.maxQueue,
        capacity: this.#readCapacity(),
        isGpuExpected: settings.isGpuExpected,
        gpus: this.#gpus,
      }),
    );
  }

  get operations(): Operations {
    return this.#operator.operations;
  }

  get activeModel(): string | undefined {
    return this.#operator.intent.activeModel;
  }

  get models(): ModelStatus[] {
    return this.#board.models;
  }

  onModelChange(listener: ModelListener): () => void {
    return this.#board.onChange(listener);
  }

  /** Begins to serve, with the model that answers when a request names none. */
  open(first: CatalogueEntry | undefined): void {
    this.#operator.open(first?.id);
    this.#settle();
  }

  /**
   * The catalogue's entry for a request, ready to be asked for.
   *
   * @throws {LlamapodError} `model_not_found`, or `model_file_invalid` where the file is no usable model
   */
  async resolve(modelId: string | undefined): Promise<CatalogueEntry> {
    const entry = await this.find(modelId);
    if (entry.header instanceof LlamapodError) throw entry.header;
    return entry;
  }

  /** Like `resolve`, and takes what cannot be used, too. @throws {LlamapodError} `model_not_found` */
  async find(modelId: string | undefined): Promise<CatalogueEntry> {
    const id = modelId ?? this.activeModel;
    if (id === undefined) {
      throw new LlamapodError("model_not_found", "There is no model to answer: put a GGUF file into the models folder.", {
        param: "model",
      });
    }
    return this.#catalogue.find(id);
  }

  /** Files have come, changed or gone: tells the listeners, and forgets what failed before. Without its file no model is active. */
  catalogueChanged({ added, changed, removed }: CatalogueChange): void {
    for (const modelId of removed) {
      this.#loads.backoffs.forget(modelId);
      this.#waiting.forget(modelId);
      this.#operator.removed(modelId);
    }
    for (const modelId of [...added, ...changed]) {
      this.#loads.backoffs.forget(modelId);
      this.#board.announce(modelId);
    }
    this.#settle();
  }

  /** @throws {LlamapodError} `overloaded` and `queue_share_exceeded` with the time after which a retry makes sense, `draining`, `model_load_failed` */
  submit(request: JobRequest, observer: JobObserver): void {
    if (this.#phase !== "open") throw draining();
    const job = new Job(request, observer);
    const successor = this.#operator.successor;
    if (job.isMovable && successor !== undefined) job.moveTo(successor);
    const backoff = this.#loads.backoffs.get(job.modelId);
    if (backoff?.resting === true && backoff.gaveUp) throw backoff.error;
    this.#waiting.checkPlace(request.client, this.#residents.all);
    this.#keeping.wake(job.modelId);
    this.#residents.returns.asked(job.modelId);
    this.#waiting.queue.add(job);
    this.#settle();
  }

  /** Ends a job with what it has: within one step if it is running, at once if it waits. An unknown id is no error. */
  cancel(id: string): void {
    const waiting = this.#waiting.queue.find(id);
    if (waiting === undefined) {
      this.#residents.cancel(id);
      return;
    }
    this.#waiting.queue.remove(waiting);
    this.#metrics.requests.cancelled(waiting.waitsFor === "loading" ? "load" : "queued", 0);
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
  unload({ id }: CatalogueEntry): Operation {
    const operation = this.#operator.unload(id);
    this.#settle();
    return operation;
  }

  /** What would have to happen for a model to be loaded now, and how much memory there is. Does nothing. */
  async forecast(entry: CatalogueEntry): Promise<{ forecast: Forecast; needed: Memory; capacity: Memory; taken: Memory }> {
    const needed = await this.#loads.memoryOf(entry);
    const view = this.#view();
    const taken = this.#residents.memory;
    return { forecast: forecast(view, entry.id, needed), needed, capacity: view.capacity, taken };
  }

  /** Of each model of which it is known what it takes: whether there is room for it, if others make some. */
  get fitting(): ReadonlyMap<string, boolean> {
    // The capacity is read once.
    const view = { ...this.#view() };
    return new Map([...view.estimates].map(([id, memory]) => [id, forecast(view, id, memory).outcome !== "short"]));
  }

  /** Takes no more jobs. Running and waiting ones go on until `close`. */
  drain(): void {
    this.#phase = "draining";
  }

  /** Ends every job and every runner. */
  async close(): Promise<void> {
    this.#phase = "closed";
    clearTimeout(this.#wakeTimer);
    this.#loads.backoffs.close();
    this.#operator.close(draining());
    const unfinished = [...this.#waiting.queue.takeWhere(() => true), ...this.#residents.close()];
    for (const job of unfinished) job.observer.failed(draining());
    await Promise.all([this.#spares.close(), this.#residents.stopped()]);
  }

  /** Lets a `close` that is under way wait for no runner that has a model. */
  kill(): void {
    for (const { runner } of this.#residents.all) runner.kill();
  }

  #request(kind: "switch" | "load", { id }: CatalogueEntry): Operation {
    if (this.#phase !== "open") throw draining();
    // Whoever asks wants it tried again.
    this.#loads.backoffs.forget(id);
    const operation = this.#operator.request(kind, id);
    this.#settle();
    return operation;
  }

  /** Does what is to be done after something has happened. What that brings about is settled after it, not within it. */
  #settle(): void {
    this.#isUnsettled = true;
    if (this.#isSettling) return;
    this.#isSettling = true;
    try {
      while (this.#isUnsettled && this.#phase !== "closed") {
        this.#isUnsettled = false;
        this.#operator.complete();
        const { decisions, wakeAt } = plan(this.#view());
        for (const decision of decisions) this.#carryOut(decision);
        if (decisions.length > 0) this.#isUnsettled = true;
        if (this.#isUnsettled) continue;
        this.#wakeAt(wakeAt);
        this.#tell();
        // Beside a load, too: in time for the one after it.
        if (this.#loads.areEstimated) this.#spares.warm(() => this.#isRoomForSpare());
      }
    } finally {
      this.#isSettling = false;
    }
  }

  #tell(): void {
    this.#operator.progressed(this.#board.progress());
    this.#waiting.tellPositions(this.#residents.all, (modelId) => this.#loads.mayStart(modelId));
  }

  #isRoomForSpare(): boolean {
    return fits(add(this.#residents.memory, this.#capacity.spare), this.#readCapacity());
  }

  #readCapacity(): Memory {
    return this.#capacity.read([...this.#residents.pids, ...this.#spares.pids]);
  }

  #sawVideoMemory(seen: VideoMemory): void {
    this.#gpus = seen;
    const held = this.#residents.heldVideoMemory;
    if (held !== undefined) this.#capacity.sawVideoMemory(seen, held, this.#spares.open);
  }

  #view(): PlanView {
    const capacity = () => this.#readCapacity();
    return poolView(
      this.#settings,
      this.#residents,
      this.#waiting.queue,
      this.#operator.intent,
      this.#keeping,
      this.#loads,
      capacity,
    );
  }

  #carryOut(decision: Decision): void {
    const { modelId } = decision;
    const resident = this.#residents.get(modelId);
    switch (decision.type) {
      case "estimate":
        this.#loads.estimate(modelId);
        break;
      case "start":
        this.#loads.start(modelId);
        break;
      case "refuse":
        this.#loads.refuse(modelId, decision.missing);
        break;
      case "decline":
        this.#operator.failed(modelId, nobodyIdle(modelId));
        break;
      case "close":
        if (resident !== undefined) resident.closedAt = performance.now();
        break;
      case "reopen":
        if (resident !== undefined) resident.closedAt = undefined;
        break;
      case "sleep":
        this.#keeping.putToSleep(modelId);
        this.#metrics.models.evicted(modelId, resident?.isUnloading === true ? "requested" : "idle");
        this.#residents.stop(modelId);
        break;
      case "stop":
        this.#metrics.models.evicted(modelId, resident?.isUnloading === true ? "requested" : "room");
        this.#residents.stop(modelId);
        break;
      case "dispatch": {
        const job = this.#waiting.queue.find(decision.job);
        if (job !== undefined && this.#residents.dispatch(job)) this.#waiting.queue.remove(job);
        break;
      }
    }
  }

  #runnerEvents(): ResidentsUser {
    return {
      changed: ({ id }) => {
        if (this.#residents.get(id) === undefined) this.#operator.gone(id);
        this.#board.announce(id);
        this.#settle();
      },
      loaded: (resident, model) => {
        const { entry } = resident;
        this.#waiting.loaded(resident);
        this.#estimates.learn(entry, model);
        this.#loads.backoffs.get(entry.id)?.loaded();
        this.#keeping.settled(entry.id);
      },
      left: (_, parked) => {
        for (const job of parked) {
          this.#metrics.models.parked(job.modelId);
          job.parked();
          this.#waiting.queue.add(job);
        }
      },
      died: (resident, death, jobs, wasAlone) => {
        this.#died(resident, death, jobs, wasAlone);
      },
      stepped: ({ entry }, ended, isUrgent) => {
        for (const job of ended) this.#waiting.served(job);
        // One that has answered is well again; to have been loaded proves less.
        if (ended.length > 0) this.#loads.backoffs.forget(entry.id);
        if (isUrgent) this.#settle();
      },
      sawVideoMemory: (seen) => {
        this.#sawVideoMemory(seen);
      },
    };
  }

  #loadEvents(): LoadsUser {
    return {
      // A switch is tried once: the old model is there to go back to.
      failed: (modelId, error) => {
        this.#operator.failed(modelId, error);
      },
      gaveUp: (modelId, error) => {
        this.#fail(modelId, error, () => true);
      },
      isShort: (modelId, error) => {
        this.#fail(modelId, error, (job) => !job.hasStarted);
      },
      changed: (modelId) => {
        this.#board.announce(modelId);
      },
      settle: () => {
        this.#settle();
      },
    };
  }

  #died({ entry: { id }, hasBeenReady }: Resident, { cause, refused }: Death, jobs: readonly Job[], wasAlone: boolean): void {
    for (const job of jobs) {
      if (job.crashed(wasAlone)) this.#waiting.queue.add(job);
      else job.observer.failed(crashed(id, cause));
    }
    const error = cannotBeLoaded(id, cause);
    if (hasBeenReady) this.#loads.died(id, error);
    else this.#loads.notLoaded(id, error, refused ? "refused" : "start");
  }

  /** Fails what waits for a model: the operator, and the jobs that match. */
  #fail(modelId: string, error: LlamapodError, matches: (job: Job) => boolean): void {
    this.#keeping.settled(modelId);
    this.#operator.failed(modelId, error);
    const failed = this.#waiting.queue.takeWhere((waiting) => waiting.modelId === modelId && matches(waiting));
    for (const job of failed) job.observer.failed(error);
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
}
