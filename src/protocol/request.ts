import { z } from "zod";
import { jsonSchema, schemaFields } from "./json-schema.ts";
import { toolCall, toolCallId, type ToolUse } from "./tools.ts";

/** The fields of a generation request that mean the same on every door: WebSocket, OpenAI-compatible HTTP, runner. */

const textPart = z.strictObject({ type: z.literal("text"), text: z.string() });

const content = z.union([z.string(), z.array(textPart).transform((parts) => parts.map((part) => part.text).join(""))], {
  error: "must be a string or a list of {type: 'text', text} parts",
});

const said = z.strictObject({
  /** `developer` is OpenAI's newer name of `system`. */
  role: z.enum(["system", "developer", "user"]).transform((role) => (role === "developer" ? "system" : role)),
  content,
  name: z.string().max(64).optional(),
});

const answered = z.strictObject({
  role: z.literal("assistant"),
  content: content.nullish().transform((text) => text ?? ""),
  name: z.string().max(64).optional(),
  tool_calls: z.array(toolCall).min(1).nullish(),
  // What an answer has beside that, for clients that send it back as it came.
  refusal: z.null().optional(),
  parsed: z.unknown().optional(),
  annotations: z.array(z.unknown()).optional(),
});

/** What a tool that the model called has returned. */
const returned = z.strictObject({
  role: z.literal("tool"),
  tool_call_id: toolCallId,
  content,
  name: z.string().max(64).optional(),
});

/** OpenAI's message shapes, text only. */
export const chatMessage = z.discriminatedUnion("role", [said, answered, returned], {
  error: "must be system, developer, user, assistant or tool",
});

export const messages = z
  .array(chatMessage)
  .min(1, "must hold at least one message")
  .superRefine((conversation, context) => {
    const at = unanswerable(conversation);
    if (at !== undefined)
      context.addIssue({ code: "custom", path: [at, "tool_call_id"], message: "is the id of no call before it" });
  });

/** @returns where a tool's result stands that belongs to no call before it, if there is one */
export function unanswerable(conversation: readonly ChatMessage[]): number | undefined {
  const made = new Set<string>();
  for (const [index, message] of conversation.entries()) {
    if (message.role === "assistant") for (const { id } of message.tool_calls ?? []) made.add(id);
    if (message.role === "tool" && !made.has(message.tool_call_id)) return index;
  }
  return undefined;
}

/** OpenAI's way to ask for JSON. */
export const responseFormat = z.discriminatedUnion(
  "type",
  [
    z.strictObject({ type: z.literal("text") }),
    z.strictObject({ type: z.literal("json_object") }),
    z.strictObject({ type: z.literal("json_schema"), json_schema: z.strictObject({ ...schemaFields, schema: jsonSchema }) }),
  ],
  { error: "must be text, json_object or json_schema" },
);

/** What an answer is made to be: a JSON object of whatever kind, or what satisfies the schema that came in this field of the request. */
export const answerFormat = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("object") }),
  z.strictObject({ kind: z.literal("schema"), schema: jsonSchema, field: z.string() }),
]);

export type AnswerFormat = z.output<typeof answerFormat>;

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
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[]; readonly tools?: ToolUse | undefined }
  | { readonly kind: "text"; readonly text: string };

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

export const finishReasons = ["stop", "length", "cancelled", "tool_calls"] as const;
export type FinishReason = (typeof finishReasons)[number];
