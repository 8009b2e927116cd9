import { LlamapodError } from "../../protocol/errors.ts";
import type { EstimateCommand, LoadedModel, Memory } from "../../protocol/runner.ts";
import { contextSizeOf, type CatalogueEntry } from "../catalogue.ts";
import { arrayLength, vocabularySize, type GgufHeader } from "../gguf/header.ts";
import { larger, subtract } from "./memory.ts";

export interface EstimateSettings {
  readonly contextSize: number;
  readonly slots: number;
  readonly batchSize: number;
}

/** What of a model its memory depends on. */
type Estimated = Pick<CatalogueEntry, "path" | "header" | "definition">;

/** Asks llama.cpp, in a process of its own. @throws {RunnerFailure} */
export type Estimator = (command: EstimateCommand) => Promise<Memory>;

/**
 * How much memory each model takes. Remembered with the file's header, which is a new one when the file is another one,
 * and the size of the context; what a load has really taken corrects it.
 */
export class Estimates {
  readonly #settings: EstimateSettings;
  readonly #estimator: Estimator;
  readonly #known = new PerShape<Memory>();
  readonly #pending = new PerShape<Promise<Memory>>();

  constructor(settings: EstimateSettings, estimator: Estimator) {
    this.#settings = settings;
    this.#estimator = estimator;
  }

  /** What is known already. */
  get(entry: Estimated): Memory | undefined {
    return entry.header instanceof LlamapodError ? undefined : this.#known.get(entry.header, this.#contextSize(entry));
  }

  /** @throws {RunnerFailure} where llama.cpp cannot load the model @throws {LlamapodError} where the file is none */
  request(entry: Estimated): Promise<Memory> {
    const { header } = entry;
    if (header instanceof LlamapodError) return Promise.reject(header);
    const contextSize = this.#contextSize(entry);
    const known = this.#known.get(header, contextSize);
    if (known !== undefined) return Promise.resolve(known);
    const pending = this.#pending.get(header, contextSize) ?? this.#estimate(entry.path, header, contextSize);
    this.#pending.set(header, contextSize, pending);
    return pending;
  }

  /**
   * What a load has taken. Weights that are read from the mapped file are not in it, nor what it found room for in the residue
   * of others, so it only ever corrects upwards.
   */
  learn(entry: Estimated, { memory, residue }: LoadedModel): void {
    const { header } = entry;
    if (header instanceof LlamapodError) return;
    const taken = subtract(memory, { ram: residue, vram: 0 });
    this.#known.set(header, this.#contextSize(entry), larger(taken, this.get(entry) ?? taken));
  }

  #contextSize(entry: Estimated): number {
    return contextSizeOf(entry, this.#settings.contextSize);
  }

  async #estimate(path: string, header: GgufHeader, contextSize: number): Promise<Memory> {
    const { slots, batchSize } = this.#settings;
    const shape = { path, contextSize, slots, batchSize, vocabularySize: vocabularySize(header) };
    try {
      const allocated = await this.#estimator({ type: "estimate", ...shape, fileBytes: header.fileBytes });
      const memory = { ...allocated, ram: allocated.ram + vocabularyBytes(header) };
      this.#known.set(header, contextSize, memory);
      return memory;
    } finally {
      this.#pending.delete(header, contextSize);
    }
  }
}

/** By file and context size. What is known of a file goes with its header. */
class PerShape<Value> {
  readonly #files = new WeakMap<GgufHeader, Map<number, Value>>();

  get(header: GgufHeader, contextSize: number): Value | undefined {
    return this.#files.get(header)?.get(contextSize);
  }

  set(header: GgufHeader, contextSize: number, value: Value): void {
    const shapes = this.#files.get(header) ?? new Map<number, Value>();
    this.#files.set(header, shapes.set(contextSize, value));
  }

  delete(header: GgufHeader, contextSize: number): void {
    this.#files.get(header)?.delete(contextSize);
  }
}

/**
 * What llama.cpp keeps of a vocabulary, in bytes, and does not report: measured as 250 for a token and 110 for a merge, with
 * vocabularies of 49,000 to 262,000 tokens.
 */
function vocabularyBytes(header: GgufHeader): number {
  return 250 * vocabularySize(header) + 110 * arrayLength(header, "tokenizer.ggml.merges");
}
