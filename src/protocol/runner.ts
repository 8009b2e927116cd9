import { z } from "zod";
import { errorCodes } from "./errors.ts";
import { toolUse } from "./tools.ts";
import { answerFormat, chatMessage, finishReasons } from "./request.ts";

/** What the server and a runner, the child process that holds one loaded model, say to each other. */

const token = z.int().min(0);

export const gpuModes = ["auto", "off", "required"] as const;

export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal"] as const;

const backendFields = {
  gpu: z.enum(gpuModes),
  threads: z.int().min(1),
  /** From which level on llama.cpp's own lines are wanted. Errors come in any case: they explain why a load failed. */
  logLevel: z.enum(logLevels),
};

/** What decides how much memory a model takes. */
const shapeFields = {
  path: z.string(),
  /** Tokens per slot; lowered to what the model was trained for. */
  contextSize: z.int().min(1),
  slots: z.int().min(1),
  /** Most tokens in one llama.cpp batch. */
  batchSize: z.int().min(1),
  /** Tokens that the tokenizer knows. */
  vocabularySize: z.int().min(0),
};

/** Opens the backend. It comes first, and everything else takes less time after it. */
const prepareCommand = z.strictObject({ type: z.literal("prepare"), ...backendFields });

/** Goes through the motions of loading, without the memory. */
const estimateCommand = z.strictObject({
  type: z.literal("estimate"),
  ...shapeFields,
  /** Of the model's file, or of all of its files. */
  fileBytes: z.int().min(0),
});

const loadCommand = z.strictObject({
  type: z.literal("load"),
  ...shapeFields,
  /** The chat template, or the name of one of the runner's own; without it the runner chooses one by the vocabulary. */
  template: z.string().optional(),
});

const generateCommand = z.strictObject({
  type: z.literal("generate"),
  id: z.string(),
  /** For the log. */
  requestId: z.string(),
  /** Whose it is: nobody else's tokens are found in a slot. It says nothing of who that is. */
  cacheScope: z.string(),
  prompt: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("chat"), messages: z.array(chatMessage), tools: toolUse.optional() }),
    z.strictObject({ kind: z.literal("text"), text: z.string() }),
  ]),
  sampling: z.strictObject({
    temperature: z.number(),
    topP: z.number(),
    topK: z.int(),
    minP: z.number(),
    seed: z.int(),
    repeatPenalty: z.number(),
    presencePenalty: z.number(),
    frequencyPenalty: z.number(),
  }),
  maxTokens: z.int().min(1).optional(),
  stop: z.array(z.string()),
  ignoreEndOfTurn: z.boolean(),
  format: answerFormat.optional(),
  /** Tokens that an earlier runner already generated for this answer; the new ones go on after them. */
  generated: z.array(token),
});

/** From which level on llama.cpp's own lines are wanted from now on. */
const logLevelCommand = z.strictObject({ type: z.literal("log_level"), logLevel: z.enum(logLevels) });

/** Gives the model up. The runner is `prepared` again after that, or exits where memory stayed behind. */
const unloadCommand = z.strictObject({ type: z.literal("unload") });

export const runnerCommand = z.discriminatedUnion("type", [
  prepareCommand,
  estimateCommand,
  loadCommand,
  generateCommand,
  z.strictObject({ type: z.literal("cancel"), id: z.string() }),
  logLevelCommand,
  unloadCommand,
  z.strictObject({ type: z.literal("stop") }),
]);

const started = z.strictObject({ id: z.string(), slot: z.int(), promptTokens: z.int(), cachedTokens: z.int() });

const output = z.strictObject({
  id: z.string(),
  tokens: z.array(token),
  /** May be empty: a character or a possible stop string is not complete yet. */
  text: z.string(),
});

const ended = z.discriminatedUnion("outcome", [
  z.strictObject({ outcome: z.literal("finished"), id: z.string(), reason: z.enum(finishReasons) }),
  z.strictObject({
    outcome: z.literal("failed"),
    id: z.string(),
    code: z.enum(errorCodes),
    message: z.string(),
    param: z.string().optional(),
  }),
]);

export const slotStatistics = z.strictObject({
  busySlots: z.int(),
  /** Tokens in the KV cache of all slots, those kept for reuse included. */
  cachedTokens: z.int(),
});

/** Of all GPUs together. */
export const videoMemory = z.strictObject({
  gpus: z.int().min(0),
  /** Bytes that nobody uses. */
  free: z.int().min(0),
  /** Bytes that an open backend takes, without a model. */
  perRunner: z.int().min(0),
});

/** Main memory and GPU memory, in bytes. */
export const memory = z.strictObject({ ram: z.int().min(0), vram: z.int().min(0) });

export const loadedModel = z.strictObject({
  contextSize: z.int(),
  slots: z.int(),
  /** What does the arithmetic: cpu, cuda, vulkan, metal. */
  backend: z.string(),
  threads: z.int(),
  /** What the process holds by itself, without what it reads from the mapped file, and what it took of the GPU. */
  memory,
  /** Main memory that it held already when the load began, in bytes: of models that it has had, or has told the memory of. */
  residue: z.int().min(0),
  /** Where the chat template comes from: the file, or one of ours. */
  template: z.string(),
});

export const runnerEvent = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("prepared"),
    /** cpu, cuda, vulkan, metal. */
    backend: z.string(),
    videoMemory,
  }),
  z.strictObject({ type: z.literal("estimated"), memory }),
  z.strictObject({ type: z.literal("progress"), phase: z.enum(["loading", "warming"]), progress: z.number() }),
  z.strictObject({ type: z.literal("ready"), model: loadedModel }),
  /** The backend, or the model, cannot be used. The process ends. */
  z.strictObject({ type: z.literal("refused"), message: z.string() }),
  z.strictObject({
    type: z.literal("step"),
    /** Milliseconds on the runner's own steady clock, when the step's tokens were sampled. */
    at: z.number(),
    /** Prompt tokens that the step has computed. */
    prefilled: z.int().min(0),
    started: z.array(started),
    outputs: z.array(output),
    ended: z.array(ended),
  }),
  z.strictObject({
    type: z.literal("heartbeat"),
    statistics: slotStatistics,
    /** How long the batch under way has taken until now, in milliseconds; 0 where none is. */
    computingMs: z.number().min(0),
    /** How late timers have fired since the last one, in seconds each. */
    loopDelays: z.array(z.number()),
  }),
  /** It has looked: at the start and from then on each second, or as often as there is time to. */
  z.strictObject({ type: z.literal("video_memory"), videoMemory }),
  z.strictObject({
    type: z.literal("log"),
    /** Whose words they are. */
    source: z.enum(["runner", "llama.cpp"]),
    level: z.enum(logLevels),
    message: z.string(),
    /** The request that it is about. */
    requestId: z.string().optional(),
  }),
]);

export type LogLevel = (typeof logLevels)[number];
export type PrepareCommand = z.output<typeof prepareCommand>;
export type EstimateCommand = z.output<typeof estimateCommand>;
export type LoadCommand = z.output<typeof loadCommand>;
export type Memory = z.output<typeof memory>;
export type VideoMemory = z.output<typeof videoMemory>;
export type GenerateCommand = z.output<typeof generateCommand>;
export type RunnerCommand = z.output<typeof runnerCommand>;
export type RunnerEvent = z.output<typeof runnerEvent>;
export type StepEvent = Extract<RunnerEvent, { type: "step" }>;
export type HeartbeatEvent = Extract<RunnerEvent, { type: "heartbeat" }>;
export type LogEvent = Extract<RunnerEvent, { type: "log" }>;
export type EndedEvent = z.output<typeof ended>;
export type LoadedModel = z.output<typeof loadedModel>;
export type SlotStatistics = z.output<typeof slotStatistics>;
