import { z } from "zod";
import { errorCodes } from "./errors.ts";
import { timings } from "./stream.ts";
import { toolCall, toolCallDelta } from "./tools.ts";

/** What OpenAI's HTTP API answers here. Its clients know the shapes; these are for who wants to check or to generate one. */

const finishReason = z.enum(["stop", "length", "tool_calls"]);

const usage = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  total_tokens: z.int(),
  prompt_tokens_details: z.object({ cached_tokens: z.int() }),
});

const common = { id: z.string(), created: z.int(), model: z.string() };
/** llamapod's own. */
const ofLastChunk = {
  timings: timings.optional(),
  /** Of the whole text in UTF-8, hexadecimal, where the answer can be resumed. */
  text_sha256: z.string().optional(),
};
const choiceFields = { index: z.literal(0), logprobs: z.null() };

export const chatCompletion = z.object({
  ...common,
  object: z.literal("chat.completion"),
  choices: z.tuple([
    z.object({
      ...choiceFields,
      message: z.object({
        role: z.literal("assistant"),
        /** Null where there are only calls. */
        content: z.string().nullable(),
        refusal: z.null(),
        tool_calls: z.array(toolCall).optional(),
      }),
      finish_reason: finishReason,
    }),
  ]),
  usage,
  timings,
});

export const chatCompletionChunk = z.object({
  ...common,
  object: z.literal("chat.completion.chunk"),
  /** Empty in the chunk that has the usage. */
  choices: z.array(
    z.object({
      ...choiceFields,
      delta: z.object({
        role: z.literal("assistant").optional(),
        content: z.string().optional(),
        tool_calls: z.array(toolCallDelta).optional(),
      }),
      finish_reason: finishReason.nullable(),
    }),
  ),
  usage: usage.optional(),
  ...ofLastChunk,
});

export const completion = z.object({
  ...common,
  object: z.literal("text_completion"),
  choices: z.tuple([z.object({ ...choiceFields, text: z.string(), finish_reason: finishReason })]),
  usage,
  timings,
});

export const completionChunk = z.object({
  ...common,
  object: z.literal("text_completion"),
  choices: z.array(z.object({ ...choiceFields, text: z.string(), finish_reason: finishReason.nullable() })),
  usage: usage.optional(),
  ...ofLastChunk,
});

export const model = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.string(),
});

export const modelList = z.object({ object: z.literal("list"), data: z.array(model) });

export const errorEnvelope = z.object({
  error: z.object({ message: z.string(), type: z.string(), code: z.enum(errorCodes), param: z.string().nullable() }),
});

/** RFC 9457. */
export const problem = z.object({
  type: z.literal("about:blank"),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.enum(errorCodes),
  param: z.string().optional(),
});

export const ticket = z.object({ protocol: z.string().startsWith("llamapod.ticket."), expires_in_s: z.int() });
