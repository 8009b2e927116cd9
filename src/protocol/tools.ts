import { z } from "zod";
import { jsonSchema, schemaFields } from "./json-schema.ts";

/** OpenAI's function tools: what is offered, what the model calls, and what comes back. */

const mostTools = 128;

/** Chosen by the client; it stands in what the model reads and writes. */
export const toolName = schemaFields.name;

export const functionFields = {
  ...schemaFields,
  /** Of the arguments, which are any object without it. */
  parameters: jsonSchema.nullish(),
};

const tool = z.strictObject({
  type: z.literal("function", { error: "must be function" }),
  function: z.strictObject(functionFields),
});

const choices = ["none", "auto", "required"] as const;

const namedFunction = z.strictObject({ type: z.literal("function"), function: z.strictObject({ name: z.string() }) });

export const toolFields = {
  tools: z.array(tool).max(mostTools).optional(),
  /** `required` is at least one call, and a named function is one of that. */
  tool_choice: z.union([z.enum(choices), namedFunction], { error: `must be ${choices.join(", ")} or a function` }).optional(),
  parallel_tool_calls: z.boolean().optional(),
};

/** The same as the Responses API spells it. */
export const flatToolFields = {
  tools: z
    .array(z.strictObject({ type: z.literal("function", { error: "only function is supported" }), ...functionFields }))
    .max(mostTools)
    .optional(),
  tool_choice: z
    .union([z.enum(choices), z.strictObject({ type: z.literal("function"), name: z.string() })], {
      error: `must be ${choices.join(", ")} or a function`,
    })
    .optional(),
  parallel_tool_calls: z.boolean().optional(),
};

/** Where two fields of a request have to fit, whichever way they are spelt. */
export function checkTools(
  names: readonly string[] | undefined,
  choice: string | { name: string } | undefined,
  context: z.RefinementCtx,
): void {
  const issue = (path: PropertyKey[], message: string) => {
    context.addIssue({ code: "custom", path, message });
  };
  const known = names ?? [];
  for (const [index, name] of known.entries()) {
    if (known.indexOf(name) < index) issue(["tools", index], "has the name of another tool");
  }
  if (typeof choice === "object") {
    if (!known.includes(choice.name)) issue(["tool_choice"], "names none of the tools");
  } else if (choice === "required" && known.length === 0) issue(["tool_choice"], "needs tools");
}

const argumentsText = z.string().refine(isObjectText, "must be a JSON object, as text");

const callId = z.string().min(1).max(256);

/** A call that the model has made, as it is sent back with the conversation. */
export const toolCall = z.strictObject({
  id: callId,
  type: z.literal("function"),
  function: z.strictObject({
    name: toolName,
    arguments: argumentsText,
    /** Where OpenAI's client keeps what it made of them. */
    parsed_arguments: z.unknown().optional(),
  }),
});

/** The items of the Responses API for a call, and for what came of it. */
export const functionCallItem = z.strictObject({
  type: z.literal("function_call"),
  id: z.string().nullish(),
  call_id: callId,
  name: toolName,
  arguments: argumentsText,
  parsed_arguments: z.unknown().optional(),
  status: z.string().nullish(),
});

export const toolCallId = callId;

/** As much of a call as has come: at first its id and its name, then its arguments in pieces. */
export const toolCallDelta = z.object({
  /** Which call of the answer. */
  index: z.int(),
  id: z.string().optional(),
  type: z.literal("function").optional(),
  function: z.object({ name: z.string().optional(), arguments: z.string() }),
});

/** A tool as a runner is told of it. */
export const offeredTool = z.strictObject({
  name: z.string(),
  description: z.string().optional(),
  parameters: jsonSchema.optional(),
  /** The arguments have to satisfy the schema; otherwise they do where a grammar can say it. */
  isStrict: z.boolean(),
  /** Of the request, that holds the schema. */
  field: z.string(),
});

/** The tools of a request, and how they are to be used. */
export const toolUse = z.strictObject({
  tools: z.array(offeredTool).min(1),
  choice: z.union([z.enum(["auto", "required"]), z.strictObject({ name: z.string() })]),
  isParallel: z.boolean(),
});

export type ToolCall = z.output<typeof toolCall>;
export type ToolCallDelta = z.output<typeof toolCallDelta>;
export type OfferedTool = z.output<typeof offeredTool>;
export type ToolUse = z.output<typeof toolUse>;

function isObjectText(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
