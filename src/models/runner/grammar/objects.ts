import type { JsonSchema } from "../../../protocol/json-schema.ts";
import { propertiesOf, requiredOf } from "./combine.ts";
import { anyObject, characterOtherThan, space } from "./json.ts";
import { literal, oneOf, type Rules } from "./rules.ts";
import type { Schema, SchemaSource } from "./schema.ts";

/** Makes an expression of a part of the schema; undefined where nothing satisfies it. */
export type CompilePart = (schema: Schema) => string | undefined;

/** Other names are told apart from one character by character. */
const longestName = 256;

interface Member {
  /** The key, the colon, and the value. */
  readonly text: string;
  readonly isRequired: boolean;
}

/**
 * An object with its properties in the order in which the schema names them. Others come after those, and only where
 * `additionalProperties` says so: JSON Schema allows them when it says nothing, and no schema means that.
 *
 * @returns undefined where no object satisfies it
 */
export function objectOf(rules: Rules, schema: JsonSchema, source: SchemaSource, compile: CompilePart): string | undefined {
  const { additionalProperties: additional } = schema;
  const declared = propertiesOf(schema);
  const required = requiredOf(schema);
  if (declared.size + required.length === 0 && (additional === undefined || additional === true)) {
    checkCount(schema, source, 0, Infinity);
    return anyObject(rules);
  }
  const undeclared = required.filter((name) => !declared.has(name));
  const others = additional === undefined || additional === false ? undefined : additional;
  const members = new Map(declared);
  // What is required and not described may be whatever an additional property may be.
  for (const name of undeclared) members.set(name, additional === false ? false : ((others as Schema | undefined) ?? true));
  const ws = space(rules);
  const written: Member[] = [];
  for (const [name, member] of members) {
    const value = compile(member);
    const isRequired = required.includes(name);
    if (value === undefined && isRequired) return undefined;
    if (value !== undefined) written.push({ text: rules.add(`${literal(JSON.stringify(name))} ":" ${ws} ${value}`), isRequired });
  }
  rules.branch(written.filter(({ isRequired }) => !isRequired).length);
  if (others !== undefined && [...members.keys()].some((name) => name.length > longestName)) {
    throw source.refusal(schema, "properties", `has a name of more than ${longestName} characters beside others that are free`);
  }
  const extra = others === undefined ? undefined : otherMember(rules, [...members.keys()], compile(others as Schema));
  const least = written.filter(({ isRequired }) => isRequired).length;
  checkCount(schema, source, least, extra === undefined ? written.length : Infinity);
  return rules.add(`"{" ${ws} ${membersFrom(rules, written, extra)} "}"`);
}

/** A grammar does not count what may be left out: a number of properties is taken only where it has no effect. */
function checkCount(schema: JsonSchema, source: SchemaSource, least: number, most: number): void {
  const { minProperties: min, maxProperties: max } = schema;
  if (min !== undefined && !(typeof min === "number" && min <= least))
    throw source.refusal(schema, "minProperties", "cannot be enforced");
  if (max !== undefined && !(typeof max === "number" && max >= most))
    throw source.refusal(schema, "maxProperties", "cannot be enforced");
}

function membersFrom(rules: Rules, members: readonly Member[], extra: string | undefined): string {
  const ws = space(rules);
  const more = extra === undefined ? '""' : `(${comma(ws)} ${extra})*`;
  // What may follow a member that has been written, and what may stand first.
  let after = rules.add(`${more} ${ws}`);
  let first = extra === undefined ? '""' : rules.add(`(${extra} ${after})?`);
  for (const { text, isRequired } of [...members].reverse()) {
    const begun = rules.add(`${text} ${after}`);
    first = isRequired ? begun : rules.add(oneOf([begun, first]) ?? begun);
    after = isRequired ? rules.add(`${comma(ws)} ${begun}`) : rules.add(`${comma(ws)} ${begun} | ${after}`);
  }
  return first;
}

function comma(ws: string): string {
  return `"," ${ws}`;
}

/** A property with a name that is none of the declared ones; it is written without escapes, which could spell one of those. */
function otherMember(rules: Rules, declared: readonly string[], value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  return rules.add(`"\\"" ${nameOtherThan(rules, declared)} "\\"" ":" ${space(rules)} ${value}`);
}

function nameOtherThan(rules: Rules, names: readonly string[]): string {
  const anything = `${characterOtherThan([])}*`;
  const byFirst = new Map<string, string[]>();
  for (const [first = "", ...rest] of names.map((name) => Array.from(name))) {
    byFirst.set(first, [...(byFirst.get(first) ?? []), rest.join("")]);
  }
  const isTaken = byFirst.delete("");
  const alternatives = [`${characterOtherThan(byFirst.keys())} ${anything}`];
  for (const [first, rests] of byFirst) alternatives.push(`${literal(first)} ${nameOtherThan(rules, rests)}`);
  return rules.add([...(isTaken ? [] : ['""']), ...alternatives].join(" | "));
}
