import { getLlama, getModuleVersion, LlamaLogLevel, type Llama } from "node-llama-cpp";
import type { LogLevel, PrepareCommand, VideoMemory } from "../../protocol/runner.ts";

/**
 * The part of node-llama-cpp's native module that the engine calls. None of it is public API: the version is pinned
 * exactly and checked here, and `test/engine/contract.test.ts` holds it to the public API's results.
 */
export interface Bindings {
  readonly AddonModel: new (path: string, options: NativeModelOptions) => NativeModel;
  readonly AddonContext: new (model: NativeModel, options: NativeContextOptions) => NativeContext;
  readonly AddonSampler: NativeSamplerClass;
  readonly AddonGrammar: new (text: string, options: { readonly addonExports: Bindings }) => NativeGrammar;
  readonly AddonGrammarEvaluationState: new (model: NativeModel, grammar: NativeGrammar) => NativeGrammarState;
}

/** A grammar that has been parsed. */
type NativeGrammar = object;

/** How far a text has come in a grammar. */
export type NativeGrammarState = object;

interface NativeSamplerClass {
  new (model: NativeModel): NativeSampler;
  /** @throws {Error} where the grammar does not take the token; an end token that comes too early ends the process */
  acceptGrammarEvaluationStateToken(state: NativeGrammarState, token: number): void;
}

interface NativeModelOptions {
  readonly addonExports: Bindings;
  readonly gpuLayers: number;
  readonly useMmap: boolean;
  /** Makes the model and its contexts only count the memory that they would take. */
  readonly noAlloc?: boolean;
  readonly onLoadProgress?: (fraction: number) => void;
}

export interface NativeModel {
  init(): Promise<boolean>;
  tokenize(text: string, parseSpecial: boolean): Uint32Array;
  detokenize(tokens: Uint32Array, renderSpecial: boolean): string;
  tokenBos(): number;
  tokenEos(): number;
  getTokenString(token: number): string;
  getTokenAttributes(token: number): number;
  isEogToken(token: number): boolean;
  shouldPrependBosToken(): boolean;
  getTrainContextSize(): number;
  getMemoryBreakdown(): { cpuRam: number; gpuVram: number };
  dispose(): Promise<void>;
}

interface NativeContextOptions {
  /** Of all sequences together. */
  readonly contextSize: number;
  readonly batchSize: number;
  readonly sequences: number;
  readonly flashAttention: "auto";
  readonly threads: number;
  readonly swaFullCache: boolean;
}

export interface NativeContext {
  init(): Promise<boolean>;
  initBatch(size: number): void;
  addToBatch(sequence: number, position: number, tokens: Uint32Array, logitsAt: Uint32Array): Uint32Array;
  setThreads(threads: number): void;
  decodeBatch(): Promise<void>;
  sampleToken(logits: number, sampler: NativeSampler): Promise<number>;
  removeTokenCellsFromSequence(sequence: number, start: number, end: number): boolean;
  disposeSequence(sequence: number): void;
  getMemoryBreakdown(): { cpuRam: number; gpuVram: number };
  dispose(): Promise<void>;
}

export interface NativeSamplerConfig {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly minP: number;
  readonly seed: number;
  readonly repeatPenalty?: number;
  readonly repeatPenaltyMaxTokens?: number;
  readonly repeatPenaltyTokens?: Uint32Array;
  readonly repeatPenaltyPresencePenalty?: number;
  readonly repeatPenaltyFrequencyPenalty?: number;
  /** Takes each token that is sampled. */
  readonly grammarEvaluationState?: NativeGrammarState;
  readonly tokenBiasKeys?: Uint32Array;
  readonly tokenBiasValues?: Float32Array;
}

export interface NativeSampler {
  applyConfig(config: NativeSamplerConfig): void;
  dispose(): void;
}

const supportedVersion = "3.22.1";

/** All of them, as the compiler sees to. */
const requiredMethods: { readonly [Name in keyof Bindings]: Readonly<Record<keyof InstanceType<Bindings[Name]>, true>> } = {
  AddonModel: {
    init: true,
    tokenize: true,
    detokenize: true,
    tokenBos: true,
    tokenEos: true,
    getTokenString: true,
    getTokenAttributes: true,
    isEogToken: true,
    shouldPrependBosToken: true,
    getTrainContextSize: true,
    getMemoryBreakdown: true,
    dispose: true,
  },
  AddonContext: {
    init: true,
    initBatch: true,
    addToBatch: true,
    setThreads: true,
    decodeBatch: true,
    sampleToken: true,
    removeTokenCellsFromSequence: true,
    disposeSequence: true,
    getMemoryBreakdown: true,
    dispose: true,
  },
  AddonSampler: { applyConfig: true, dispose: true },
  AddonGrammar: {},
  AddonGrammarEvaluationState: {},
};

const requiredStatics: { readonly [Class in keyof Bindings]?: readonly string[] } = {
  AddonSampler: ["acceptGrammarEvaluationStateToken"],
};

/** What a CUDA context takes of a GPU, in bytes, whose size the driver chooses: between 250 and 500 MiB. */
const cudaContextBytes = 384 * 2 ** 20;

export interface Backend {
  readonly bindings: Bindings;
  /** cpu, cuda, vulkan or metal. */
  readonly name: string;
  /** Whether native work is done in the order in which it was asked for: there is one thread to do it. */
  readonly isSequential: boolean;
  readonly hasGpu: boolean;
  readonly videoMemory: () => Promise<VideoMemory>;
  /** From which level on it tells of what it does from now on. */
  readonly setLogLevel: (level: LogLevel) => void;
}

export type LogLine = (level: LogLevel, message: string) => void;

/** Loads the native library for the GPU or the CPU. @throws {Error} with the cause as its message. */
export async function openBackend({ gpu, threads, logLevel }: PrepareCommand, log: LogLine): Promise<Backend> {
  const version = await getModuleVersion();
  if (version !== supportedVersion)
    throw new Error(`node-llama-cpp ${version} is installed, and llamapod needs ${supportedVersion}`);
  const llama = await getLlama({
    gpu: gpu === "off" ? false : "auto",
    // A missing binary must be an error, never a download and a compilation.
    build: "never",
    skipDownload: true,
    progressLogs: false,
    maxThreads: threads,
    logLevel: nativeLogLevels[logLevel],
    logger: (level, message) => {
      if (level !== LlamaLogLevel.disabled) log(logLevelNames[level], message.trimEnd());
    },
  });
  if (gpu === "required" && llama.gpu === false) {
    throw new Error("a GPU is required and llama.cpp found none that works; see the lines above, or set gpu to auto or off");
  }
  const gpus = llama.gpu === false ? 0 : (await llama.getGpuDeviceNames()).length;
  const perRunner = llama.gpu === "cuda" ? gpus * cudaContextBytes : 0;
  return {
    bindings: bindingsOf(llama),
    name: llama.gpu === false ? "cpu" : llama.gpu,
    isSequential: process.env["UV_THREADPOOL_SIZE"] === "1",
    hasGpu: gpus > 0,
    videoMemory: async () => ({ gpus, free: gpus === 0 ? 0 : (await llama.getVramState()).free, perRunner }),
    setLogLevel: (level) => {
      llama.logLevel = nativeLogLevels[level];
    },
  };
}

/** What fails a load is explained by lines of the level error, whoever wants to see them. */
const nativeLogLevels: Readonly<Record<LogLevel, LlamaLogLevel>> = {
  fatal: LlamaLogLevel.error,
  error: LlamaLogLevel.error,
  warn: LlamaLogLevel.warn,
  info: LlamaLogLevel.info,
  debug: LlamaLogLevel.debug,
  trace: LlamaLogLevel.debug,
};

const logLevelNames = {
  [LlamaLogLevel.fatal]: "fatal",
  [LlamaLogLevel.error]: "error",
  [LlamaLogLevel.warn]: "warn",
  [LlamaLogLevel.info]: "info",
  [LlamaLogLevel.log]: "info",
  [LlamaLogLevel.debug]: "debug",
} as const;

function bindingsOf(llama: Llama): Bindings {
  const bindings: unknown = Reflect.get(llama, "_bindings");
  if (!hasRequiredMethods(bindings)) {
    throw new Error(
      `the native module of node-llama-cpp ${supportedVersion} lacks a function that the engine needs; reinstall it`,
    );
  }
  return bindings;
}

function hasRequiredMethods(bindings: unknown): bindings is Bindings {
  if (typeof bindings !== "object" || bindings === null) return false;
  const classNames = Object.keys(requiredMethods) as (keyof Bindings)[];
  return classNames.every((className) => {
    const nativeClass: unknown = Reflect.get(bindings, className);
    if (typeof nativeClass !== "function") return false;
    const prototype: unknown = nativeClass.prototype;
    if (typeof prototype !== "object" || prototype === null) return false;
    const hasStatics = (requiredStatics[className] ?? []).every((method) => method in nativeClass);
    return hasStatics && Object.keys(requiredMethods[className]).every((method) => method in prototype);
  });
}
