import { LlamapodError } from "../../protocol/errors.ts";
import type { Sampling } from "../../protocol/request.ts";
import type { EstimateCommand, LoadCommand, LoadedModel, Memory } from "../../protocol/runner.ts";
import type { Backend, NativeContext, NativeModel } from "./bindings.ts";
import { Sampler, type Constraint } from "./sampler.ts";

/** Tokens of one slot in a batch. */
export interface BatchEntry {
  readonly slot: number;
  /** Position of the first token in the slot's sequence. */
  readonly position: number;
  readonly tokens: Uint32Array;
  /** Chooses the token after the last of them, where one is wanted. */
  readonly sampler: Sampler | undefined;
}

export interface Computed {
  /** For each entry of the batch that wanted one. */
  readonly tokens: readonly (number | undefined)[];
  /** What the batch took, without the sampling. */
  readonly elapsedMs: number;
}

const everyLayer = 9_999;

/** llama.cpp pads a context to a multiple of this many cells. */
const contextPadding = 256;

/** Bits of llama.cpp's `enum llama_token_attr`. */
const attribute = { unknown: 1 << 0, control: 1 << 3, stripsLeft: 1 << 7, stripsRight: 1 << 8 } as const;

export interface ControlToken {
  readonly id: number;
  readonly text: string;
  /** Whether it swallows the spaces before it, in a text that becomes tokens. */
  readonly stripsLeft: boolean;
  readonly stripsRight: boolean;
}

type EngineInfo = Omit<LoadedModel, "template" | "memory" | "residue">;

/** A loaded model with its slots: everything the step loop asks of llama.cpp, and nothing else. */
export class Engine {
  readonly info: EngineInfo;
  /** In bytes. */
  readonly videoMemory: number;
  readonly #backend: Backend;
  readonly #model: NativeModel;
  readonly #context: NativeContext;
  #computingSince: number | undefined;
  /** What text may turn into only where a template says so. */
  readonly controlTokens: readonly ControlToken[];

  private constructor(
    backend: Backend,
    model: NativeModel,
    context: NativeContext,
    info: EngineInfo,
    controlTokens: readonly ControlToken[],
  ) {
    this.#backend = backend;
    this.#model = model;
    this.#context = context;
    this.controlTokens = controlTokens;
    this.info = info;
    this.videoMemory = allocatedBy(model, context).vram;
  }

  /**
   * @param onProgress told the fraction of the weights that is loaded
   * @throws {Error} when llama.cpp refuses; the cause is in the log lines before it
   */
  static async load(
    backend: Backend,
    command: LoadCommand,
    threads: number,
    onProgress: (fraction: number) => void,
  ): Promise<Engine> {
    const model = await openModel(backend, command, { onLoadProgress: onProgress });
    const { context, contextSize } = await openContext(backend, model, command, threads);
    const info = { contextSize, slots: command.slots, backend: backend.name, threads };
    return new Engine(backend, model, context, info, controlTokensOf(model, command.vocabularySize));
  }

  /**
   * What `load` would allocate, found by llama.cpp itself without allocating it, in bytes. The vocabulary, and the process,
   * come on top.
   *
   * @throws {Error} as `load` does
   */
  static async estimate(backend: Backend, command: EstimateCommand): Promise<Memory> {
    const model = await openModel(backend, command, { noAlloc: true });
    const { context } = await openContext(backend, model, command, 1);
    const { ram, vram } = allocatedBy(model, context);
    const unused = backend.name === "cpu" ? unusedLogits(command) + unreadWeights(model, command) : 0;
    await context.dispose();
    await model.dispose();
    return { ram: Math.max(0, ram - unused), vram };
  }

  /** Frees the slots and the weights. Nothing can be asked of it afterwards. */
  async dispose(): Promise<void> {
    await this.#context.dispose();
    await this.#model.dispose();
  }

  /** The text of a control token does not become that token. */
  tokenize(text: string): Uint32Array {
    return this.#model.tokenize(text, false);
  }

  /** Control tokens have no text. Bytes that are not valid UTF-8 become U+FFFD. */
  detokenize(tokens: Uint32Array): string {
    return this.#model.detokenize(tokens, false);
  }

  /** @returns undefined when the vocabulary has no such token */
  get beginToken(): number | undefined {
    return existing(this.#model.tokenBos());
  }

  get endToken(): number | undefined {
    return existing(this.#model.tokenEos());
  }

  /** Whether the tokenizer's own settings put the begin token before every prompt. */
  get addsBeginToken(): boolean {
    return this.#model.shouldPrependBosToken();
  }

  tokenText(token: number): string {
    return this.#model.getTokenString(token);
  }

  /** End of turn, end of sequence, end of message: whatever this vocabulary ends an answer with. */
  endsGeneration(token: number): boolean {
    return this.#model.isEogToken(token);
  }

  createSampler(sampling: Sampling): Sampler {
    return new Sampler(new this.#backend.bindings.AddonSampler(this.#model), sampling);
  }

  /**
   * Chooses only what the grammar accepts, after what was generated before. A complete text is followed by an end token.
   *
   * @throws {LlamapodError} `unsupported_parameter` for a model that could not end then
   */
  createGrammarSampler(sampling: Sampling, grammar: string, generated: readonly number[]): Sampler {
    if (this.endToken === undefined) {
      const message =
        "This model's vocabulary has no end token, without which an answer in a given form cannot be told to be over.";
      throw new LlamapodError("unsupported_parameter", message);
    }
    return new Sampler(new this.#backend.bindings.AddonSampler(this.#model), sampling, this.#constrain(grammar, generated));
  }

  #constrain(grammar: string, generated: readonly number[]): Constraint {
    const { AddonGrammar, AddonGrammarEvaluationState, AddonSampler } = this.#backend.bindings;
    const parsed = new AddonGrammar(grammar, { addonExports: this.#backend.bindings });
    const state = new AddonGrammarEvaluationState(this.#model, parsed);
    for (const token of generated) AddonSampler.acceptGrammarEvaluationStateToken(state, token);
    const excluded = this.controlTokens.map(({ id }) => id).filter((token) => !this.endsGeneration(token));
    return { state, excluded: Uint32Array.from(excluded) };
  }

  /**
   * Forgets a slot's cells from position `length` on.
   *
   * @returns how many cells the slot still holds: `length`, or 0 where the architecture cannot forget in part
   */
  truncate(slot: number, length: number): number {
    if (length > 0 && this.#context.removeTokenCellsFromSequence(slot, length, -1)) return length;
    this.#context.disposeSequence(slot);
    return 0;
  }

  /** How long the batch under way has taken until now, in milliseconds; 0 where none is. */
  get computingMs(): number {
    return this.#computingSince === undefined ? 0 : performance.now() - this.#computingSince;
  }

  /**
   * Runs one batch and samples from it. Entries must be in ascending order of slots: llama.cpp computes consecutive sequences
   * together and everything else one after the other.
   *
   * @param threads to compute with, on the CPU
   * @throws {Error} when llama.cpp fails; nothing can be trusted afterwards
   */
  async compute(entries: readonly BatchEntry[], threads: number): Promise<Computed> {
    this.#context.initBatch(entries.reduce((sum, entry) => sum + entry.tokens.length, 0));
    const logits = entries.map(({ slot, position, tokens, sampler }) => {
      const logitsAt = sampler === undefined ? noLogits : Uint32Array.of(tokens.length - 1);
      return this.#context.addToBatch(slot, position, tokens, logitsAt)[0];
    });
    this.#context.setThreads(threads);
    const begin = performance.now();
    this.#computingSince = begin;
    const decoded = this.#context.decodeBatch().then(() => performance.now() - begin);
    // What is done in order can be asked for at once, and the thread that does it need not wait for this one in between.
    if (!this.#backend.isSequential) await decoded;
    const sampled = entries.map(({ sampler }, index) => this.#sample(logits[index], sampler));
    const [elapsedMs, tokens] = await Promise.all([decoded, Promise.all(sampled)]);
    this.#computingSince = undefined;
    return { tokens, elapsedMs };
  }

  async #sample(logits: number | undefined, sampler: Sampler | undefined): Promise<number | undefined> {
    if (logits === undefined || sampler === undefined) return undefined;
    const token = await this.#context.sampleToken(logits, sampler.native);
    if (token < 0) throw new Error("llama.cpp left no token to choose from");
    return token;
  }
}

const noLogits = new Uint32Array();

function controlTokensOf(model: NativeModel, vocabularySize: number): ControlToken[] {
  const tokens: ControlToken[] = [];
  for (let id = 0; id < vocabularySize; id++) {
    const attributes = model.getTokenAttributes(id);
    if ((attributes & (attribute.unknown | attribute.control)) === 0) continue;
    const [stripsLeft, stripsRight] = [(attributes & attribute.stripsLeft) !== 0, (attributes & attribute.stripsRight) !== 0];
    tokens.push({ id, text: model.getTokenString(id), stripsLeft, stripsRight });
  }
  return tokens;
}

async function openModel(
  backend: Backend,
  { path }: EstimateCommand | LoadCommand,
  options: { noAlloc: true } | { onLoadProgress: (fraction: number) => void },
): Promise<NativeModel> {
  const model = new backend.bindings.AddonModel(path, {
    addonExports: backend.bindings,
    gpuLayers: backend.name === "cpu" ? 0 : everyLayer,
    useMmap: true,
    ...options,
  });
  if (!(await model.init())) throw new Error("llama.cpp could not load the model");
  return model;
}

async function openContext(
  backend: Backend,
  model: NativeModel,
  command: EstimateCommand | LoadCommand,
  threads: number,
): Promise<{ context: NativeContext; contextSize: number }> {
  const { slots } = command;
  const contextSize = pad(Math.min(command.contextSize, model.getTrainContextSize()));
  const context = new backend.bindings.AddonContext(model, {
    contextSize: contextSize * slots,
    batchSize: Math.max(command.batchSize, slots),
    sequences: slots,
    flashAttention: "auto",
    threads,
    // Without it, sliding-window models forget what prefix reuse needs.
    swaFullCache: true,
  });
  if (!(await context.init())) {
    throw new Error(`llama.cpp could not make a context of ${slots} slots with ${contextSize} tokens each`);
  }
  return { context, contextSize };
}

function allocatedBy(model: NativeModel, context: NativeContext): Memory {
  const [weights, cache] = [model.getMemoryBreakdown(), context.getMemoryBreakdown()];
  return { ram: weights.cpuRam + cache.cpuRam, vram: weights.gpuVram + cache.gpuVram };
}

/**
 * Where the same matrix begins and ends a model, llama.cpp may hold it twice: in an order that suits the processor, as for AMX,
 * and in the mapped file, of which only the rows of some tokens are read then.
 */
function unreadWeights(model: NativeModel, { fileBytes }: EstimateCommand): number {
  return Math.max(0, model.getMemoryBreakdown().cpuRam - fileBytes);
}

/**
 * llama.cpp reserves space for the logits of every token of a batch. They are asked for of one token a slot, and main
 * memory that is never written to costs nothing.
 */
function unusedLogits({ vocabularySize, batchSize, slots }: EstimateCommand): number {
  return vocabularySize * Math.max(0, batchSize - slots) * Float32Array.BYTES_PER_ELEMENT;
}

function pad(contextSize: number): number {
  return Math.ceil(contextSize / contextPadding) * contextPadding;
}

function existing(token: number): number | undefined {
  return token < 0 ? undefined : token;
}
