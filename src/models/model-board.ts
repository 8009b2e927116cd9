import type { PoolMeasurement } from "../health/metrics/pool-gauges.ts";
import { LlamapodError } from "../protocol/errors.ts";
import type { CatalogueEntry } from "./catalogue.ts";
import type { Job } from "./job.ts";
import type { Estimates } from "./memory/estimates.ts";
import { describeModel, publicState, type ModelStatus } from "./model-status.ts";
import type { OperationProgress } from "./operations.ts";
import type { Loads, Models } from "./loads.ts";
import type { Operator } from "./operator.ts";
import type { Residents } from "./residents.ts";

/** Told of every change of any model's state, with a number that grows. */
export type ModelListener = (status: ModelStatus, revision: number) => void;

/** The models as clients and metrics see them, and who is told when that changes. */
export class ModelBoard {
  readonly #models: Models;
  readonly #residents: Residents;
  readonly #estimates: Estimates;
  readonly #loads: Loads;
  readonly #operator: Operator;
  readonly #listeners = new Set<ModelListener>();
  #revision = 0;
  /** What was last told of the model that is wanted. */
  #told = "";

  constructor(models: Models, residents: Residents, estimates: Estimates, loads: Loads, operator: Operator) {
    this.#models = models;
    this.#residents = residents;
    this.#estimates = estimates;
    this.#loads = loads;
    this.#operator = operator;
  }

  get models(): ModelStatus[] {
    return this.#models.entries.map((entry) => this.#status(entry));
  }

  onChange(listener: ModelListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  announce(modelId: string | undefined): void {
    const entry = modelId === undefined ? undefined : this.#models.get(modelId);
    if (entry === undefined) return;
    this.#revision++;
    const status = this.#status(entry);
    for (const listener of this.#listeners) listener(status, this.#revision);
  }

  /** How far the load of the model has got that is wanted. Who makes room for it is told where that changes. */
  progress(): OperationProgress | undefined {
    const { wanted } = this.#operator;
    const entry = wanted === undefined ? undefined : this.#models.get(wanted);
    const state = this.#residents.get(wanted)?.runner.state;
    const { closing } = this.#residents;
    const phase = state === undefined ? (closing.length > 0 ? "draining" : "planning") : publicState(state);
    const told = [wanted, phase, ...closing].join(" ");
    if (told !== this.#told && state === undefined) this.announce(wanted);
    this.#told = told;
    if (entry === undefined || entry.header instanceof LlamapodError) return undefined;
    const totalBytes = entry.header.fileBytes;
    const fraction = state?.name === "loading" ? state.progress : state?.name === "warming" ? 1 : 0;
    return { phase, doneBytes: Math.round(fraction * totalBytes), totalBytes };
  }

  measure(waiting: readonly Job[], ofPool: Omit<PoolMeasurement, "waiting" | "models" | "runners">): PoolMeasurement {
    return {
      ...ofPool,
      waiting: waiting.map(({ modelId, waitsFor }) => ({ modelId, reason: waitsFor })),
      models: this.#models.entries.map((entry) => {
        const { id, state } = this.#status(entry);
        return { modelId: id, state, estimate: this.#estimates.get(entry) };
      }),
      runners: this.#residents.all.map((resident) => resident.measure()),
    };
  }

  #status(entry: CatalogueEntry): ModelStatus {
    const resident = this.#residents.get(entry.id);
    const isWanted = entry.id === this.#operator.wanted;
    return describeModel(entry, {
      isActive: entry.id === this.#operator.intent.activeModel,
      memory: resident?.memory ?? this.#estimates.get(entry),
      runner: resident?.runner.state,
      isAwaited: isWanted || this.#loads.estimating.has(entry.id),
      waitsFor: isWanted ? this.#residents.closing : [],
      failure: this.#loads.backoffs.get(entry.id)?.failure,
    });
  }
}
