import { z } from "zod";
import { LlamapodError } from "./errors.ts";
import { lengthFields, messages, responseFormat, samplingFields } from "./request.ts";
import { checkTools, toolFields } from "./tools.ts";
import { checkNesting, issueToError } from "./validation.ts";

/**
 * The requests of OpenAI's HTTP API that are answered here. A field that would change the answer and is not supported
 * is refused, never ignored; one that changes nothing here (who asks, how it is billed) is accepted.
 */

/** Sent by clients for OpenAI's own bookkeeping. */
const ignored = {
  user: z.unknown().optional(),
  metadata: z.unknown().optional(),
  store: z.unknown().optional(),
  service_tier: z.unknown().optional(),
  safety_identifier: z.unknown().optional(),
  prompt_cache_key: z.unknown().optional(),
  prompt_cache_retention: z.unknown().optional(),
};

function unsupported(instead: string) {
  return z.never({ error: `is not supported; ${instead}` }).optional();
}

const only = <Value extends boolean | number>(value: Value) =>
  z.literal(value, { error: `is not supported with another value than ${value}` }).optional();

const shared = {
  ...ignored,
  ...samplingFields,
  model: z.string().min(1).max(256).optional(),
  ...lengthFields,
  /** llama-server's and vLLM's extension: go on when the model has ended its turn. For benchmarks. */
  ignore_eos: z.boolean().optional(),
  stream: z.boolean().optional(),
  stream_options: z
    .strictObject({ include_usage: z.boolean().optional(), include_obfuscation: z.boolean().optional() })
    .optional(),
  n: only(1),
  logit_bias: z.record(z.string(), z.never("is not supported")).optional(),
};

export const chatCompletionRequest = z
  .strictObject({
    ...shared,
    ...toolFields,
    messages: messages,
    max_completion_tokens: lengthFields.max_tokens,
    logprobs: only(false),
    top_logprobs: only(0),
    response_format: responseFormat.optional(),
    modalities: z.tuple([z.literal("text")], { error: "only text is supported" }).optional(),
    functions: unsupported("use tools"),
    audio: unsupported("only text is"),
  })
  .superRefine(({ tools, tool_choice: choice }, context) => {
    const names = tools?.map((tool) => tool.function.name);
    checkTools(names, typeof choice === "object" ? choice.function : choice, context);
  });

export const completionRequest = z.strictObject({
  ...shared,
  prompt: z
    .union([z.string(), z.tuple([z.string()]).transform(([only]) => only)], { error: "must be one string" })
    .pipe(z.string().min(1)),
  echo: only(false),
  best_of: only(1),
  logprobs: only(0),
  suffix: unsupported("end the prompt where the answer begins"),
});

export type ChatCompletionRequest = z.output<typeof chatCompletionRequest>;
export type CompletionRequest = z.output<typeof completionRequest>;

/** @throws {LlamapodError} naming the field */
export function parseRequest<Schema extends z.ZodType>(schema: Schema, body: unknown): z.output<Schema> {
  if (body === undefined) {
    throw new LlamapodError(
      "unsupported_media_type",
      "The body must be JSON, sent with the header Content-Type: application/json.",
    );
  }
  const { data, error } = schema.safeParse(withoutNulls(body));
  if (error !== undefined) throw issueToError(error);
  checkNesting(data);
  return data;
}

/** OpenAI's clients send null for what is not set, in a request and in the answers that its conversation gives back. */
function withoutNulls(body: unknown): unknown {
  if (!isObject(body)) return body;
  const { messages, ...fields } = body;
  return withoutUnset(Array.isArray(messages) ? { ...fields, messages: messages.map(withoutUnset) } : body);
}

/** Without what says nothing: null, and the annotations of an answer that has none. */
function withoutUnset(value: unknown): unknown {
  if (!isObject(value)) return value;
  const says = ([name, field]: [string, unknown]) => !(name === "annotations" && Array.isArray(field) && field.length === 0);
  return Object.fromEntries(Object.entries(value).filter((entry) => entry[1] !== null && says(entry)));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
