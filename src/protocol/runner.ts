import { z } from "zod";
import { errorCodes } from "./errors.ts";
import { chatMessage, finishReasons } from "./request.ts";

/** What the server and a runner, the child process that holds one loaded model, say to each other. */

const token = z.int().min(0);

export const gpuModes = ["auto", "off", "required"] as const;

const loadCommand = z.strictObject({
  type: z.literal("load"),
  path: z.string(),
  /** Tokens per slot; lowered to what the model was trained for. */
  contextSize: z.int().min(1),
  slots: z.int().min(1),
  /** Most tokens in one llama.cpp batch. */
  batchSize: z.int().min(1),
  threads: z.int().min(1),
  gpu: z.enum(gpuModes),
  /** The chat template to use instead of one that the runner chooses by the vocabulary. */
  template: z.string().optional(),
  vocabularySize: z.int().min(0),
});

const generateCommand = z.strictObject({
  type: z.literal("generate"),
  id: z.string(),
  prompt: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("chat"), messages: z.array(chatMessage) }),
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
  /** Tokens that an earlier runner already generated for this answer; the new ones go on after them. */
  generated: z.array(token),
});

export const runnerCommand = z.discriminatedUnion("type", [
  loadCommand,
  generateCommand,
  z.strictObject({ type: z.literal("cancel"), id: z.string() }),
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

export const loadedModel = z.strictObject({
  contextSize: z.int(),
  slots: z.int(),
  /** What does the arithmetic: cpu, cuda, vulkan, metal. */
  backend: z.string(),
  threads: z.int(),
  memoryBytes: z.int(),
  videoMemoryBytes: z.int(),
  /** Where the chat template comes from: the file, or one of ours. */
  template: z.string(),
});

export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal"] as const;

export const runnerEvent = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("progress"), phase: z.enum(["loading", "warming"]), progress: z.number() }),
  z.strictObject({ type: z.literal("ready"), model: loadedModel }),
  z.strictObject({ type: z.literal("load_failed"), message: z.string() }),
  z.strictObject({
    type: z.literal("step"),
    /** Milliseconds on the runner's own steady clock, when the step's tokens were sampled. */
    at: z.number(),
    started: z.array(started),
    outputs: z.array(output),
    ended: z.array(ended),
  }),
  z.strictObject({ type: z.literal("heartbeat"), statistics: slotStatistics }),
  z.strictObject({ type: z.literal("log"), level: z.enum(logLevels), message: z.string() }),
]);

export type LoadCommand = z.output<typeof loadCommand>;
export type GenerateCommand = z.output<typeof generateCommand>;
export type RunnerCommand = z.output<typeof runnerCommand>;
export type RunnerEvent = z.output<typeof runnerEvent>;
export type StepEvent = Extract<RunnerEvent, { type: "step" }>;
export type EndedEvent = z.output<typeof ended>;
export type LoadedModel = z.output<typeof loadedModel>;
export type SlotStatistics = z.output<typeof slotStatistics>;
