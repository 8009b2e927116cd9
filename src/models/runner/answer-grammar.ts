import { LlamapodError } from "../../protocol/errors.ts";
import type { JsonSchema } from "../../protocol/json-schema.ts";
import type { GenerateCommand } from "../../protocol/runner.ts";
import type { OfferedTool, ToolUse } from "../../protocol/tools.ts";
import type { ToolDialect } from "./tool-dialects.ts";
import { anyObject, space } from "./grammar/json.ts";
import { literal, oneOf, type Rules } from "./grammar/rules.ts";
import { compileSchema, newRules, objectGrammar, schemaGrammar } from "./grammar/schema-grammar.ts";

/**
 * What an answer may be, as a grammar; undefined where it may be any text. That it is when the model may choose whether to call
 * a tool, unless the answer that it gives otherwise has a form.
 *
 * @throws {LlamapodError} `unsupported_schema`, naming the JSON pointer
 */
export function answerGrammar(
  { prompt, format }: Pick<GenerateCommand, "prompt" | "format">,
  dialect: ToolDialect,
): string | undefined {
  const tools = prompt.kind === "chat" ? prompt.tools : undefined;
  if (tools === undefined || (tools.choice === "auto" && format === undefined)) {
    if (format === undefined) return undefined;
    return format.kind === "object" ? objectGrammar() : schemaGrammar(format.schema, format.field);
  }
  const rules = newRules("tools");
  const calls = callsOf(rules, tools, dialect);
  if (tools.choice !== "auto" || format === undefined) return rules.text(calls);
  const answer = format.kind === "object" ? anyObject(rules) : compileSchema(rules, format.schema, format.field);
  return rules.text(oneOf([calls, answer]) ?? calls);
}

function callsOf(rules: Rules, { tools, choice, isParallel }: ToolUse, dialect: ToolDialect): string {
  const callable = typeof choice === "object" ? tools.filter(({ name }) => name === choice.name) : tools;
  const call = rules.add(callable.map((tool) => callOf(rules, tool, dialect)).join(" | "));
  const mayRepeat = isParallel && typeof choice !== "object" && dialect.closing !== "";
  return mayRepeat ? rules.add(`${call} ("\\n" ${call})*`) : call;
}

function callOf(rules: Rules, tool: OfferedTool, { opening, closing, argumentsKey }: ToolDialect): string {
  const ws = space(rules);
  const head = `${literal('{"name":')} ${ws} ${literal(JSON.stringify(tool.name))} "," ${ws} ${literal(`"${argumentsKey}":`)} ${ws}`;
  const call = `${head} ${argumentsOf(rules, tool)} ${ws} "}"`;
  return rules.add(opening === "" ? call : `${literal(opening)} ${ws} ${call} ${ws} ${literal(closing)}`);
}

/** Of a tool that is not strict a grammar says what it can, and any object otherwise: it was asked to do its best. */
function argumentsOf(rules: Rules, { parameters, isStrict, field }: OfferedTool): string {
  if (parameters === undefined) return anyObject(rules);
  try {
    return compileSchema(rules, ofObject(parameters), field);
  } catch (thrown) {
    if (isStrict || !(thrown instanceof LlamapodError)) throw thrown;
    return anyObject(rules);
  }
}

/** Arguments are an object, also where the schema takes that for granted. */
function ofObject(parameters: JsonSchema): JsonSchema {
  return "type" in parameters || "$ref" in parameters ? parameters : { ...parameters, type: "object" };
}
