import { Patterns, patternsOf } from "./patterns.ts";
import { canonical, combinators, isSchema, overlaps, typesOf, type Schema, type SchemaSource } from "./schema.ts";
import type { JsonSchema } from "../../../protocol/json-schema.ts";

/** What a schema may become when everything is combined with everything. */
const mostAlternatives = 256;

/** References and combinations that lead to each other. */
const longestChain = 100;

/** How deep the search goes for what tells the alternatives of a `oneOf` apart. */
const deepestSearch = 3;

/**
 * The alternatives that a schema comes to, each without references and combinations of its own: values are what at least one of
 * them allows. Below them everything stands as it was.
 *
 * @throws {LlamapodError} `unsupported_schema`
 */
export function alternativesOf(schema: Schema, source: SchemaSource, within: ReadonlySet<object> = new Set()): JsonSchema[] {
  if (typeof schema === "boolean") return schema ? [{}] : [];
  if (within.has(schema)) throw source.refusal(schema, undefined, "refers to itself without anything in between");
  const inside = new Set(within).add(schema);
  if (inside.size > longestChain) throw source.refusal(schema, undefined, `is ${longestChain} references and combinations deep`);
  source.keywords(schema);
  let alternatives: JsonSchema[] = [source.derive(withoutCombinators(schema), schema)];
  for (const part of partsOf(schema, source, inside)) {
    alternatives = alternatives.flatMap((one) =>
      part.map((other) => merge(one, other, source)).filter((merged) => merged !== undefined),
    );
    if (alternatives.length > mostAlternatives) throw source.refusal(schema, undefined, "has too many alternatives");
  }
  return alternatives;
}

/** What has to hold at the same time, each as its alternatives. */
function partsOf(schema: JsonSchema, source: SchemaSource, within: ReadonlySet<object>): JsonSchema[][] {
  const parts: JsonSchema[][] = [];
  if (schema["$ref"] !== undefined) parts.push(alternativesOf(source.resolve(schema["$ref"], schema), source, within));
  for (const all of listOf(schema, "allOf", source)) parts.push(alternativesOf(all, source, within));
  if (schema["anyOf"] !== undefined) {
    parts.push(listOf(schema, "anyOf", source).flatMap((any) => alternativesOf(any, source, within)));
  }
  if (schema["oneOf"] !== undefined) {
    const choices = listOf(schema, "oneOf", source);
    checkApart(choices, schema, source, within);
    parts.push(choices.flatMap((one) => alternativesOf(one, source, within)));
  }
  return parts;
}

/** The schemas of a combination; none where there is no such one. */
export function listOf(schema: JsonSchema, keyword: "allOf" | "anyOf" | "oneOf", source: SchemaSource): Schema[] {
  const list: unknown = schema[keyword];
  if (list === undefined) return [];
  if (Array.isArray(list) && list.length > 0 && list.every(isSchema)) return list;
  throw source.refusal(schema, keyword, "has to be a list of schemas");
}

/** A grammar cannot say that only one of several holds: they must be such that no two can. */
export function checkApart(
  choices: readonly Schema[],
  schema: JsonSchema,
  source: SchemaSource,
  within: ReadonlySet<object> = new Set(),
): void {
  const expanded = choices.map((choice) => alternativesOf(choice, source, within));
  for (const [index, ones] of expanded.entries()) {
    for (const others of expanded.slice(index + 1)) {
      if (ones.every((one) => others.every((other) => areApart(one, other, source, deepestSearch)))) continue;
      throw source.refusal(schema, "oneOf", "has alternatives that may hold for the same value; say anyOf if that is meant");
    }
  }
}

function areApart(a: JsonSchema, b: JsonSchema, source: SchemaSource, depth: number): boolean {
  const [valuesA, valuesB] = [valuesOf(a), valuesOf(b)];
  if (valuesA !== undefined && valuesB !== undefined) {
    const known = new Set(valuesA.map(canonical));
    return !valuesB.some((value) => known.has(canonical(value)));
  }
  const [typesA, typesB] = [typesOf(a, source), typesOf(b, source)];
  if (typesA === undefined || typesB === undefined) return false;
  const shared = [...typesA].filter((one) => [...typesB].some((other) => overlaps(one, other)));
  if (shared.length === 0) return true;
  if (shared.length > 1 || shared[0] !== "object" || depth === 0) return false;
  const [propertiesA, propertiesB] = [propertiesOf(a), propertiesOf(b)];
  const requiredByB = requiredOf(b);
  return requiredOf(a).some((name) => {
    const [one, other] = [propertiesA.get(name), propertiesB.get(name)];
    if (!requiredByB.includes(name) || one === undefined || other === undefined) return false;
    const others = alternativesOf(other, source);
    return alternativesOf(one, source).every((left) => others.every((right) => areApart(left, right, source, depth - 1)));
  });
}

/** What holds where both do; undefined where nothing can. */
function merge(a: JsonSchema, b: JsonSchema, source: SchemaSource): JsonSchema | undefined {
  const merged: Record<string, unknown> = {};
  for (const keyword of new Set([...source.keywords(a), ...source.keywords(b)])) {
    if (keyword === "properties" || keyword === "additionalProperties") continue;
    const [one, other] = [a[keyword], b[keyword]];
    if (one === undefined || other === undefined) merged[keyword] = one ?? other;
    else {
      const both = mergeKeyword(keyword, one, other);
      if (both === undefined) throw source.refusal(b, keyword, "cannot be combined with what else holds here");
      merged[keyword] = both;
    }
  }
  if (isEmpty(merged["enum"]) || isEmpty(merged["type"])) return undefined;
  return source.derive({ ...merged, ...mergeProperties(a, b) }, keysOf(a) > 0 ? a : b);
}

function mergeKeyword(keyword: string, one: unknown, other: unknown): unknown {
  if (canonical(one) === canonical(other)) return one;
  if (keyword === "type") return mergeTypes([one].flat(), [other].flat());
  if (keyword === "enum" && Array.isArray(one) && Array.isArray(other)) {
    const known = new Set(other.map(canonical));
    return one.filter((value) => known.has(canonical(value)));
  }
  if (keyword === "required" && Array.isArray(one) && Array.isArray(other)) return [...new Set([one, other].flat() as unknown[])];
  if (keyword === "items" && isSchema(one) && isSchema(other)) return { allOf: [one, other] };
  if (keyword === "pattern") return bothPatterns(one, other);
  if (typeof one !== "number" || typeof other !== "number") return undefined;
  if (/^(exclusiveM|m)in/.test(keyword)) return Math.max(one, other);
  if (/^(exclusiveM|m)ax/.test(keyword)) return Math.min(one, other);
  return undefined;
}

function bothPatterns(one: unknown, other: unknown): Patterns | undefined {
  const [patterns, others] = [patternsOf(one), patternsOf(other)];
  return patterns === undefined || others === undefined ? undefined : new Patterns([...patterns, ...others]);
}

function mergeTypes(one: readonly unknown[], other: readonly unknown[]): unknown[] {
  const both = one.filter((type) => other.includes(type));
  const hasInteger = one.concat(other).includes("integer") && [one, other].every(takesIntegers);
  return hasInteger && !both.includes("integer") ? [...both, "integer"] : both;
}

function takesIntegers(types: readonly unknown[]): boolean {
  return types.includes("integer") || types.includes("number");
}

/** A property that only one of them names is what the other one allows as an additional one. */
function mergeProperties(a: JsonSchema, b: JsonSchema): JsonSchema {
  const [propertiesA, propertiesB] = [propertiesOf(a), propertiesOf(b)];
  const [additionalA, additionalB] = [a["additionalProperties"], b["additionalProperties"]];
  const names = [...new Set([...propertiesA.keys(), ...propertiesB.keys()])];
  const both = (one: unknown, other: unknown): unknown => {
    if (one === undefined || other === undefined) return one ?? other;
    return one === false || other === false ? false : { allOf: [one, other] };
  };
  const properties = names.map((name) => [
    name,
    both(propertiesA.get(name) ?? additionalA ?? true, propertiesB.get(name) ?? additionalB ?? true),
  ]);
  const additional = both(additionalA, additionalB);
  return {
    ...(names.length > 0 && { properties: Object.fromEntries(properties) as unknown }),
    ...(additional !== undefined && { additionalProperties: additional }),
  };
}

export function propertiesOf({ properties }: JsonSchema): ReadonlyMap<string, Schema> {
  if (typeof properties !== "object" || properties === null) return new Map();
  return new Map(Object.entries(properties).filter((entry): entry is [string, Schema] => isSchema(entry[1])));
}

export function requiredOf({ required }: JsonSchema): string[] {
  return Array.isArray(required) ? required.filter((name) => typeof name === "string") : [];
}

/** What `enum` or `const` leave over; undefined where there is neither. */
export function valuesOf(schema: JsonSchema): readonly unknown[] | undefined {
  const { enum: values } = schema;
  return Array.isArray(values) ? values : undefined;
}

/** `const` becomes an `enum` of one here. */
function withoutCombinators(schema: JsonSchema): JsonSchema {
  const own = Object.entries(schema).filter(([keyword]) => !combinators.some((name) => name === keyword));
  const plain = Object.fromEntries(own.filter(([keyword]) => keyword !== "const"));
  const { const: only, enum: values } = schema;
  if (only === undefined) return plain;
  const allowed = !Array.isArray(values) || values.some((value) => canonical(value) === canonical(only));
  return { ...plain, enum: allowed ? [only] : [] };
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function keysOf(schema: JsonSchema): number {
  return Object.keys(schema).length;
}
