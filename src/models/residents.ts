import type { Logger } from "pino";
import type { Metrics } from "../health/metrics/metrics.ts";
import type { LoadedModel, Memory, StepEvent, VideoMemory } from "../protocol/runner.ts";
import type { CatalogueEntry } from "./catalogue.ts";
import type { GgufHeader } from "./gguf/header.ts";
import type { Job } from "./job.ts";
import { loadCommand } from "./load-command.ts";
import type { EstimateSettings } from "./memory/estimates.ts";
import { add } from "./memory/memory.ts";
import { Resident } from "./resident.ts";
import { Returns } from "./returns.ts";
import type { Runner } from "./runner.ts";
import type { RunnerState } from "./runner-state.ts";
import type { Spares } from "./spares.ts";

/** How long a runner that was asked to stop may take. */
const stopGraceMs = 5_000;

/** How a runner ended that was not told to. */
export type Death = RunnerState & { readonly name: "failed" };

/** Who is told what becomes of the runners. After each of these everything may have to be decided anew. */
export interface ResidentsUser {
  /** Its state has changed, whatever else is said of it. */
  changed(entry: CatalogueEntry): void;
  loaded(resident: Resident, model: LoadedModel): void;
  /** It has given its model up as it was told to, with the jobs that it still had. */
  left(resident: Resident, parked: readonly Job[]): void;
  /** @param wasAlone whether it had one job only, which may have been cancelled */
  died(resident: Resident, death: Death, jobs: readonly Job[], wasAlone: boolean): void;
  /** @param ended jobs @param isUrgent whether something may follow from it */
  stepped(resident: Resident, ended: readonly Job[], isUrgent: boolean): void;
  /** One of them has looked. */
  sawVideoMemory(seen: VideoMemory): void;
}

/** The models that are loaded, or on their way in or out, by id: starts and stops their runners, and hands them work. */
export class Residents {
  readonly #settings: EstimateSettings;
  readonly #spares: Spares;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #user: ResidentsUser;
  readonly #residents = new Map<string, Resident>();
  readonly #lastServed = new Map<string, number>();
  /** Those of each model's clients. */
  readonly returns = new Returns();
  /** Models whose runner has died before it began to load, and that were given another one. */
  readonly #secondTries = new Set<string>();
  #uses = 0;

  constructor(settings: EstimateSettings, spares: Spares, metrics: Metrics, log: Logger, user: ResidentsUser) {
    this.#settings = settings;
    this.#spares = spares;
    this.#metrics = metrics;
    this.#log = log;
    this.#user = user;
  }

  get all(): readonly Resident[] {
    return [...this.#residents.values()];
  }

  get jobs(): readonly Job[] {
    return this.all.flatMap(({ jobs }) => jobs);
  }

  get memory(): Memory {
    return add(...this.all.map(({ memory }) => memory));
  }

  /** When each model was last worked with. */
  get lastServed(): ReadonlyMap<string, number> {
    return this.#lastServed;
  }

  /** Those that make room. */
  get closing(): string[] {
    return this.all.filter(({ closedAt }) => closedAt !== undefined).map(({ entry }) => entry.id);
  }

  /** Process ids. */
  get pids(): number[] {
    return this.all.flatMap(({ runner }) => runner.pid ?? []);
  }

  /** GPU memory that they hold; undefined while some of them are taking it or giving it back. */
  get heldVideoMemory(): number | undefined {
    let held = 0;
    for (const { runner, memory } of this.all) {
      if (runner.state.name === "ready") held += memory.vram;
      else if (runner.state.name !== "starting" && runner.state.name !== "prepared") return undefined;
    }
    return held;
  }

  get(modelId: string | undefined): Resident | undefined {
    return modelId === undefined ? undefined : this.#residents.get(modelId);
  }

  isReady(modelId: string): boolean {
    return this.get(modelId)?.runner.state.name === "ready";
  }

  /** @throws {Error} where the machine cannot start a process */
  start(entry: CatalogueEntry, header: GgufHeader, estimate: Memory): void {
    if (this.#residents.has(entry.id)) return;
    const runner = this.#spares.take();
    this.#residents.set(entry.id, new Resident(entry, runner, this.#settings.slots, estimate, this.#metrics, ++this.#uses));
    runner.load(entry.id, loadCommand(entry, header, this.#settings), {
      stateChanged: ({ state }) => {
        this.#runnerChanged(entry.id, runner, state);
      },
      stepped: (_, step) => {
        this.#stepped(entry.id, runner, step);
      },
      beat: (_, { loopDelays }) => {
        this.#metrics.runnerLoopDelays(loopDelays);
      },
      sawVideoMemory: (_, seen) => {
        this.#user.sawVideoMemory(seen);
      },
    });
    this.#user.changed(entry);
  }

  /** A runner that has served may serve again; one that is loading cannot be called back. */
  stop(modelId: string): void {
    const runner = this.get(modelId)?.runner;
    if (runner === undefined) return;
    const stopped = this.#spares.areKept && runner.state.name === "ready" ? runner.unload(stopGraceMs) : runner.stop(stopGraceMs);
    stopped.catch((err: unknown) => {
      this.#log.error({ err }, "a runner could not be stopped");
    });
  }

  /** @returns whether the job has been taken up */
  dispatch(job: Job): boolean {
    const resident = this.get(job.modelId);
    if (resident?.runner.state.name !== "ready") return false;
    this.#lastServed.set(job.modelId, performance.now());
    resident.take(job, ++this.#uses);
    return true;
  }

  cancel(jobId: string): void {
    for (const resident of this.all) resident.cancel(jobId);
  }

  /** @returns the jobs that had not ended */
  close(): readonly Job[] {
    return this.all.flatMap((resident) => resident.release());
  }

  async stopped(): Promise<void> {
    await Promise.all(this.all.map(({ runner }) => runner.stop(stopGraceMs)));
  }

  #stepped(modelId: string, runner: Runner, step: StepEvent): void {
    const resident = this.get(modelId);
    if (resident?.runner !== runner) return;
    const wasProving = resident.isProving;
    const ended = resident.stepped(step);
    if (ended.length > 0) {
      this.#lastServed.set(modelId, performance.now());
      this.returns.answered(modelId);
    }
    // What makes room, and who may have killed a runner, may be waited for by the token.
    this.#user.stepped(resident, ended, ended.length > 0 || resident.closedAt !== undefined || wasProving);
  }

  #runnerChanged(modelId: string, runner: Runner, state: RunnerState): void {
    const resident = this.get(modelId);
    if (resident?.runner !== runner) return;
    resident.entered(state.name);
    if (resident.hasBegunToLoad) this.#secondTries.delete(modelId);
    if (state.name === "ready") this.#becameReady(resident, state.model);
    if (state.name === "prepared" && resident.hasBeenReady) {
      this.#left(resident);
      this.#spares.takeBack(runner);
    }
    if (state.name === "stopped") this.#left(resident);
    if (state.name === "failed") this.#died(resident, state);
    this.#user.changed(resident.entry);
  }

  #becameReady(resident: Resident, model: LoadedModel): void {
    const { id } = resident.entry;
    resident.becameReady(model);
    const seconds = resident.loadMs / 1_000;
    this.#metrics.models.loaded(id, seconds);
    this.#log.info({ model: id, seconds: Number(seconds.toFixed(2)), ...model }, "model is ready");
    this.#user.loaded(resident, model);
  }

  #left(resident: Resident): void {
    this.#metrics.models.runnerExited(resident.entry.id, "requested", resident.hasBeenReady);
    this.#user.left(resident, this.#release(resident));
  }

  #died(resident: Resident, death: Death): void {
    const { id } = resident.entry;
    const { cause, refused, exit } = death;
    const wasServing = resident.hasBeenReady;
    this.#metrics.models.runnerExited(id, exit, wasServing);
    const wasAlone = resident.jobs.length === 1;
    const jobs = this.#release(resident);
    if (!resident.hasBegunToLoad && !refused && !this.#secondTries.has(id)) {
      // It may have stood by, and died of something else than this model.
      this.#log.warn({ model: id, cause }, "runner died before it began to load, another one is started");
      this.#secondTries.add(id);
      return;
    }
    if (!wasServing) this.#metrics.models.notLoaded(id, refused ? "refused" : "crashed");
    this.#log.error({ model: id, cause }, wasServing ? "runner died" : "model could not be loaded");
    this.#user.died(resident, death, jobs, wasAlone);
  }

  /** It is gone. @returns its jobs; those that were cancelled have ended now */
  #release(resident: Resident): readonly Job[] {
    this.#residents.delete(resident.entry.id);
    const jobs = resident.release();
    if (jobs.length > 0) this.#lastServed.set(resident.entry.id, performance.now());
    return jobs.filter((job) => {
      if (job.isCancelled) job.end({ outcome: "finished", id: job.request.id, reason: "cancelled" });
      return !job.isCancelled;
    });
  }
}
