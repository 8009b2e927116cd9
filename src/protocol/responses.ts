import { z } from "zod";
import { errorCodes } from "./errors.ts";
import { jsonSchema, schemaFields } from "./json-schema.ts";
import { lengthFields, samplingFields } from "./request.ts";
import { checkTools, flatToolFields, functionCallItem, toolCallId } from "./tools.ts";

/**
 * OpenAI's Responses API, for text and function calls, over HTTP and as messages on a WebSocket. As with the other doors, a field that
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

const textFormat = z.discriminatedUnion(
  "type",
  [
    z.strictObject({ type: z.literal("text") }),
    z.strictObject({ type: z.literal("json_object") }),
    z.strictObject({ type: z.literal("json_schema"), ...schemaFields, schema: jsonSchema }),
  ],
  { error: "must be text, json_object or json_schema" },
);

const content = z.union([z.string(), z.array(textPart).transform((parts) => parts.map(({ text }) => text).join(""))], {
  error: "must be a string or a list of input_text and output_text parts",
});

/** A message, as a client writes it or as it was given out earlier. */
const message = z
  .strictObject({
    type: z.literal("message").optional(),
    role: z.enum(["system", "developer", "user", "assistant"]),
    content,
    id: z.string().optional(),
    status: z.string().optional(),
    phase: z.string().nullish(),
    /** Where OpenAI's client keeps what it made of it. */
    parsed: z.unknown().optional(),
  })
  .transform(({ role, content: text }) => ({
    type: "message" as const,
    role: role === "developer" ? ("system" as const) : role,
    content: text,
  }));

const functionCallOutput = z.strictObject({
  type: z.literal("function_call_output"),
  call_id: toolCallId,
  output: content,
  id: z.string().nullish(),
  status: z.string().nullish(),
});

const item = z.union([message, functionCallItem, functionCallOutput]);

const { temperature, top_p } = samplingFields;

const fields = {
  model: z.string().min(1).max(256).optional(),
  input: z
    .union(
      [z.string().transform((text) => [{ type: "message" as const, role: "user" as const, content: text }]), z.array(item)],
      {
        error: "must be a string or a list of messages, function_call and function_call_output items",
      },
    )
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
      format: textFormat.optional(),
      verbosity: z.unknown().optional(),
    })
    .optional(),
  stream_options: z.strictObject({ include_obfuscation: z.boolean().optional() }).optional(),
  ...flatToolFields,
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

function toolsFit(
  { tools, tool_choice: choice }: Pick<ResponseRequest, "tools" | "tool_choice">,
  context: z.RefinementCtx,
): void {
  const names = tools?.map(({ name }) => name);
  checkTools(names, choice, context);
}

const requestFields = z.strictObject({ ...fields, stream: z.boolean().optional() });

export const responseRequest = requestFields.superRefine(toolsFit);

/** What a client sends on the WebSocket. Those with the same `stream_id`, or none, are answered one after the other. */
export const responseCreate = z
  .strictObject({
    ...fields,
    type: z.literal("response.create", { error: "must be response.create" }),
    stream: z.boolean().optional(),
    stream_id: z.string().min(1).max(64).optional(),
  })
  .superRefine(toolsFit);

/** What comes back, each an event as OpenAI's clients know it. */
export const responseEvent = z.object({
  type: z.string().startsWith("response."),
  sequence_number: z.int(),
  stream_id: z.string().optional(),
});

/** The refusal of a request, or of a message that is none. */
export const responseError = z.object({
  type: z.literal("error"),
  status: z.int(),
  error: z.object({ type: z.string(), code: z.enum(errorCodes), message: z.string(), param: z.string().nullable() }),
  stream_id: z.string().optional(),
});

export type TextFormat = z.output<typeof textFormat>;
export type InputItem = z.output<typeof item>;
export type ResponseRequest = z.output<typeof requestFields>;
