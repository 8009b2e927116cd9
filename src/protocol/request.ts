import { z } from "zod";

/** The fields of a generation request that mean the same on every door: WebSocket, OpenAI-compatible HTTP, runner. */

const textPart = z.strictObject({ type: z.literal("text"), text: z.string() });

const content = z.union([z.string(), z.array(textPart).transform((parts) => parts.map((part) => part.text).join(""))], {
  error: "must be a string or a list of {type: 'text', text} parts",
});

/** OpenAI's message shape, text only. `developer` is OpenAI's newer name of `system`. */
export const chatMessage = z.strictObject({
  role: z.enum(["system", "developer", "user", "assistant"]).transform((role) => (role === "developer" ? "system" : role)),
  content,
  name: z.string().max(64).optional(),
});

export const messages = z.array(chatMessage).min(1, "must hold at least one message");

const penalty = z.number().min(-2).max(2);

const stopString = z.string().min(1).max(128);

export const stop = z.union([stopString.transform((text) => [text]), z.array(stopString).max(1_024)], {
  error: "must be a string of 1 to 128 characters, or a list of such",
});

export const samplingFields = {
  /** 0 is greedy. */
  temperature: z.number().min(0).max(5).optional(),
  top_p: z.number().gt(0).max(1).optional(),
  /** How many of the likeliest tokens are considered; 0 means all of them, which costs a full sort of the vocabulary. */
  top_k: z.int().min(0).max(1_000_000).optional(),
  min_p: z.number().min(0).max(1).optional(),
  /** Random when absent. */
  seed: z.int().min(0).max(0xffff_ffff).optional(),
  /** Applies to the last 64 tokens; 1 is off. */
  repeat_penalty: z.number().gt(0).max(10).optional(),
  presence_penalty: penalty.optional(),
  frequency_penalty: penalty.optional(),
};

export const lengthFields = {
  max_tokens: z.int().min(1).max(1_000_000).optional(),
  stop: stop.optional(),
};

/** Requests with a greater one are served first; 0 is ordinary. */
export const priority = z.int().min(-10).max(10);

/** What becomes of an answer that no connection reads. */
export const detach = z.strictObject({
  /** How long it goes on, in seconds. */
  grace_s: z.int().min(0).optional(),
  /** And then: `finish` lets it go on to its end. */
  on_expire: z.enum(["cancel", "finish"]).optional(),
});

export type ChatMessage = z.output<typeof chatMessage>;

/** What the model is asked to continue: a conversation, rendered by its chat template, or raw text. */
export type Prompt =
  { readonly kind: "chat"; readonly messages: readonly ChatMessage[] } | { readonly kind: "text"; readonly text: string };

/** Sampling settings with every default filled in. */
export interface Sampling {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly minP: number;
  readonly seed: number;
  readonly repeatPenalty: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
}

export const finishReasons = ["stop", "length", "cancelled"] as const;
export type FinishReason = (typeof finishReasons)[number];
