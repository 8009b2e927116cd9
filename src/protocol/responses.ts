import { z } from "zod";
import { chatMessage, lengthFields, samplingFields } from "./request.ts";

/**
 * OpenAI's Responses API, text in and text out, over HTTP and as messages on a WebSocket. As with the other doors, a field that
 * would change the answer and is not supported is refused.
 */

const only = <Value extends string | boolean | number>(value: Value) =>
  z.literal(value, { error: `is not supported with another value than ${JSON.stringify(value)}` }).optional();

function unsupported(instead: string) {
  return z.never({ error: `is not supported; ${instead}` }).optional();
}

const textPart = z.strictObject({
  type: z.enum(["input_text", "output_text"], { error: "only input_text and output_text are supported" }),
  text: z.string(),
  annotations: z.array(z.unknown()).optional(),
  logprobs: z.array(z.unknown()).optional(),
});

/** A message, as a client writes it or as it was given out earlier. */
const item = z
  .strictObject({
    type: z.literal("message", { error: "only messages are supported" }).optional(),
    role: chatMessage.shape.role,
    content: z.union([z.string(), z.array(textPart).transform((parts) => parts.map(({ text }) => text).join(""))], {
      error: "must be a string or a list of input_text and output_text parts",
    }),
    id: z.string().optional(),
    status: z.string().optional(),
    phase: z.string().nullish(),
  })
  .transform(({ role, content }) => ({ role, content }));

const { temperature, top_p } = samplingFields;

const fields = {
  model: z.string().min(1).max(256).optional(),
  input: z
    .union([z.string().transform((content) => [{ role: "user" as const, content }]), z.array(item)], {
      error: "must be a string or a list of messages",
    })
    .optional(),
  instructions: z.string().optional(),
  previous_response_id: z.string().max(64).optional(),
  max_output_tokens: lengthFields.max_tokens,
  temperature,
  top_p,
  store: z.boolean().optional(),
  metadata: z.record(z.string(), z.string()).optional(),
  text: z
    .strictObject({
      format: z.strictObject({ type: z.literal("text", { error: "only text is supported" }) }).optional(),
      verbosity: z.unknown().optional(),
    })
    .optional(),
  stream_options: z.strictObject({ include_obfuscation: z.boolean().optional() }).optional(),
  tools: z.array(z.unknown()).max(0, "are not supported").optional(),
  tool_choice: z.enum(["none", "auto"], { error: "is not supported without tools" }).optional(),
  parallel_tool_calls: z.unknown().optional(),
  max_tool_calls: z.unknown().optional(),
  truncation: only("disabled"),
  background: only(false),
  top_logprobs: only(0),
  include: z.array(z.string()).max(0, "is not supported").optional(),
  reasoning: unsupported("no model here has efforts to choose from"),
  conversation: unsupported("use previous_response_id"),
  prompt: unsupported("write it into input"),
  // What follows is for OpenAI's own bookkeeping.
  user: z.unknown().optional(),
  service_tier: z.unknown().optional(),
  safety_identifier: z.unknown().optional(),
  prompt_cache_key: z.unknown().optional(),
  prompt_cache_options: z.unknown().optional(),
  prompt_cache_retention: z.unknown().optional(),
};

export const responseRequest = z.strictObject({ ...fields, stream: z.boolean().optional() });

/** What a client sends on the WebSocket. Those with the same `stream_id`, or none, are answered one after the other. */
export const responseCreate = z.strictObject({
  ...fields,
  type: z.literal("response.create", { error: "must be response.create" }),
  stream: z.boolean().optional(),
  stream_id: z.string().min(1).max(64).optional(),
});

export type ResponseRequest = z.output<typeof responseRequest>;
