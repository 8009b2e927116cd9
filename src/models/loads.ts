import type { Logger } from "pino";
import type { Metrics } from "../health/metrics/metrics.ts";
import { LlamapodError } from "../protocol/errors.ts";
import type { Memory } from "../protocol/runner.ts";
import { Backoffs, type Backoff, type Mishap } from "./backoff.ts";
import type { Catalogue, CatalogueEntry } from "./catalogue.ts";
import { cannotBeLoaded, doesNotFit, gone, notEstimated } from "./failures.ts";
import type { Estimates } from "./memory/estimates.ts";
import type { Residents } from "./residents.ts";
import { RunnerFailure } from "./runner-process.ts";

/** What the pool asks of the catalogue. */
export type Models = Pick<Catalogue, "entries" | "get" | "find">;

/** Who is told what comes of attempts to load. After each of these everything may have to be decided anew. */
export interface LoadsUser {
  /** One attempt has failed: there may be more. */
  failed(modelId: string, error: LlamapodError): void;
  /** It has been tried often enough, or cannot be loaded at all. */
  gaveUp(modelId: string, error: LlamapodError): void;
  /** There is no room for it now. It is tried again for a while, for the sake of answers that have begun. */
  isShort(modelId: string, error: LlamapodError): void;
  /** A model's state is another one. */
  changed(modelId: string): void;
  /** Something that was not possible may be so now. */
  settle(): void;
}

/** Attempts to load models: what is found out before, what is made of those that fail, and when it is tried again. */
export class Loads {
  readonly backoffs = new Backoffs();
  readonly #models: Models;
  readonly #estimates: Estimates;
  readonly #residents: Residents;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #user: LoadsUser;
  readonly #estimating = new Set<string>();

  constructor(models: Models, estimates: Estimates, residents: Residents, metrics: Metrics, log: Logger, user: LoadsUser) {
    this.#models = models;
    this.#estimates = estimates;
    this.#residents = residents;
    this.#metrics = metrics;
    this.#log = log;
    this.#user = user;
  }

  /** Models of which it is being found out what they take. */
  get estimating(): ReadonlySet<string> {
    return this.#estimating;
  }

  /** What is known of the models' memory. */
  get known(): ReadonlyMap<string, Memory> {
    const known = this.#models.entries.flatMap((entry) => {
      const memory = this.#estimates.get(entry);
      return memory === undefined ? [] : [[entry.id, memory] as const];
    });
    return new Map(known);
  }

  get areEstimated(): boolean {
    return this.#estimating.size === 0;
  }

  /** Whether it is known what it takes, and it does not rest. */
  mayStart(modelId: string): boolean {
    return !this.#estimating.has(modelId) && this.backoffs.get(modelId)?.resting !== true;
  }

  isUsable(modelId: string): boolean {
    const header = this.#models.get(modelId)?.header;
    return header !== undefined && !(header instanceof LlamapodError);
  }

  /** What a model takes, asked of a runner where it is not known. @throws {LlamapodError} `model_load_failed` */
  async memoryOf(entry: CatalogueEntry): Promise<Memory> {
    return this.#estimates.request(entry).catch((thrown: unknown) => {
      throw notEstimated(entry.id, thrown);
    });
  }

  estimate(modelId: string): void {
    const entry = this.#models.get(modelId);
    if (entry === undefined || entry.header instanceof LlamapodError) {
      this.#user.gaveUp(modelId, entry?.header instanceof LlamapodError ? entry.header : gone(modelId));
      return;
    }
    this.#estimating.add(modelId);
    this.#user.changed(modelId);
    this.#estimates
      .request(entry)
      .finally(() => this.#estimating.delete(modelId))
      .catch((thrown: unknown) => {
        const refused = thrown instanceof RunnerFailure && thrown.refused;
        this.#log.error({ model: modelId, err: thrown }, "model could not be loaded");
        this.#metrics.models.notLoaded(modelId, refused ? "refused" : "crashed");
        this.notLoaded(modelId, notEstimated(modelId, thrown), refused ? "refused" : "start");
        this.#user.changed(modelId);
      })
      .finally(() => {
        this.#user.settle();
      });
  }

  start(modelId: string): void {
    const entry = this.#models.get(modelId);
    const estimate = entry === undefined ? undefined : this.#estimates.get(entry);
    if (entry === undefined || entry.header instanceof LlamapodError || estimate === undefined) return;
    try {
      this.#residents.start(entry, entry.header, estimate);
    } catch (thrown) {
      this.#log.error({ model: modelId, err: thrown }, "no runner could be started");
      this.#metrics.models.notLoaded(modelId, "crashed");
      this.notLoaded(modelId, cannotBeLoaded(modelId, thrown instanceof Error ? thrown.message : String(thrown)), "start");
      this.#user.changed(modelId);
    }
  }

  /** It does not fit. */
  refuse(modelId: string, missing: Memory): void {
    this.#log.error({ model: modelId, missing }, "model does not fit into memory");
    this.#metrics.models.notLoaded(modelId, "memory");
    const error = doesNotFit(modelId, missing);
    const { isHopeless } = this.#rest(modelId, error, "refused");
    if (isHopeless) this.#user.gaveUp(modelId, error);
    else this.#user.isShort(modelId, error);
    this.#user.changed(modelId);
  }

  notLoaded(modelId: string, cause: LlamapodError, mishap: Mishap): void {
    const { gaveUp, error } = this.#rest(modelId, cause, mishap);
    this.#user.failed(modelId, error);
    if (gaveUp) this.#user.gaveUp(modelId, error);
  }

  /** Its runner died while it served: that alone is no reason to give up. */
  died(modelId: string, cause: LlamapodError): void {
    this.#rest(modelId, cause, "death");
  }

  /** Keeps a model from being started again at once. */
  #rest(modelId: string, error: LlamapodError, mishap: Mishap): Backoff {
    return this.backoffs.rest(modelId, error, mishap, () => {
      this.#user.changed(modelId);
      this.#user.settle();
    });
  }
}
