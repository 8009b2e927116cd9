import { LlamapodError } from "../../../protocol/errors.ts";
import type { JsonSchema } from "../../../protocol/json-schema.ts";
import { arrayOf } from "./arrays.ts";
import { alternativesOf, checkApart, listOf, valuesOf } from "./combine.ts";
import { anyObject, anyValue } from "./json.ts";
import { integerWithin, numberWithin, type Bounds } from "./numbers.ts";
import { objectOf } from "./objects.ts";
import { anyText, mostRepetitions, oneOf, Rules } from "./rules.ts";
import { PatternError } from "./automaton.ts";
import { patternsOf, stringOfPatterns } from "./patterns.ts";
import { combinators, overlaps, SchemaSource, typeNames, typeOfValue, typesOf, type Schema, type TypeName } from "./schema.ts";
import { stringOfFormat, stringOfLength } from "./strings.ts";

/** Schemas within schemas, what they refer to included. */
const deepest = 200;

/**
 * Turns a JSON Schema into rules. Whatever they accept satisfies the schema. Of what satisfies it they leave out what a model need
 * not say: another order of the properties, other white space, properties that the schema allows only by not naming them.
 */
class SchemaCompiler {
  readonly #rules: Rules;
  readonly #source: SchemaSource;
  /** By what is referred to. */
  readonly #referred = new Map<JsonSchema, string>();
  #depth = 0;

  constructor(rules: Rules, source: SchemaSource) {
    this.#rules = rules;
    this.#source = source;
  }

  /**
   * @param unguarded what leads here by references alone: to come to one of these again would never end
   * @returns undefined where nothing satisfies the schema
   */
  compile(schema: Schema, unguarded: ReadonlySet<JsonSchema> = new Set()): string | undefined {
    if (typeof schema === "boolean") return schema ? anyValue(this.#rules) : undefined;
    const keywords = this.#source.keywords(schema);
    if (keywords.length === 0) return anyValue(this.#rules);
    if (++this.#depth > deepest) throw this.#source.refusal(schema, undefined, `is nested deeper than ${deepest} levels`);
    try {
      const [only] = keywords.length === 1 ? keywords : [];
      if (only === "$ref") return this.#referTo(schema, unguarded);
      if (only === "anyOf" || only === "oneOf") return this.#choose(schema, only, unguarded);
      if (!combinators.some((name) => schema[name] !== undefined))
        return this.#plain(alternativesOf(schema, this.#source)[0] ?? schema);
      const alternatives = alternativesOf(schema, this.#source);
      this.#rules.branch(alternatives.length);
      return oneOf(alternatives.map((alternative) => this.#plain(alternative)));
    } finally {
      this.#depth--;
    }
  }

  #referTo(schema: JsonSchema, unguarded: ReadonlySet<JsonSchema>): string | undefined {
    const target = this.#source.resolve(schema["$ref"], schema);
    if (typeof target === "boolean") return this.compile(target);
    if (unguarded.has(target)) throw this.#source.refusal(schema, "$ref", "refers to itself without anything in between");
    const known = this.#referred.get(target);
    if (known !== undefined) return known;
    const name = this.#rules.reserve();
    this.#referred.set(target, name);
    const body = this.compile(target, new Set(unguarded).add(target));
    if (body === undefined) throw this.#source.refusal(target, undefined, "can be satisfied by nothing");
    this.#rules.define(name, body);
    return name;
  }

  #choose(schema: JsonSchema, keyword: "anyOf" | "oneOf", unguarded: ReadonlySet<JsonSchema>): string | undefined {
    const choices = listOf(schema, keyword, this.#source);
    if (keyword === "oneOf") checkApart(choices, schema, this.#source);
    this.#rules.branch(choices.length);
    return oneOf(choices.map((choice) => this.compile(choice, unguarded)));
  }

  /** A schema without references and combinations. */
  #plain(schema: JsonSchema): string | undefined {
    const values = valuesOf(schema);
    const types = typesOf(schema, this.#source) ?? new Set(typeNames);
    if (values !== undefined) return this.#values(schema, values, types);
    return oneOf(typeNames.map((type) => (types.has(type) ? this.#ofType(type, schema) : undefined)));
  }

  #values(schema: JsonSchema, values: readonly unknown[], types: ReadonlySet<TypeName>): string | undefined {
    const also = this.#source.keywords(schema).find((keyword) => keyword !== "enum" && keyword !== "type");
    if (also !== undefined) throw this.#source.refusal(schema, also, "cannot be enforced beside enum or const");
    const allowed = values.filter((value) => [...types].some((type) => isOf(type, typeOfValue(value))));
    const texts = new Set(allowed.map((value) => JSON.stringify(value)));
    return texts.size === 0 ? undefined : this.#rules.add(anyText(this.#rules, [...texts]));
  }

  #ofType(type: TypeName, schema: JsonSchema): string | undefined {
    switch (type) {
      case "object":
        return objectOf(this.#rules, schema, this.#source, (part) => this.compile(part));
      case "array": {
        const count = this.#range(schema, "minItems", "maxItems");
        return count === undefined ? undefined : arrayOf(this.#rules, schema, this.#source, (part) => this.compile(part), count);
      }
      case "string":
        return this.#string(schema);
      case "integer":
        return this.#number(schema, integerWithin);
      case "number":
        return this.#number(schema, numberWithin);
      case "boolean":
        return '("true" | "false")';
      case "null":
        return '"null"';
    }
  }

  #string(schema: JsonSchema): string | undefined {
    const { format, pattern } = schema;
    const length = this.#range(schema, "minLength", "maxLength");
    if (length === undefined) return undefined;
    // Beside a pattern, a format says nothing more: JSON Schema has it as a note.
    if (pattern !== undefined) return this.#pattern(schema, pattern, length);
    if (format === undefined) return stringOfLength(this.#rules, length.min, length.max);
    const isPlain = schema["minLength"] === undefined && schema["maxLength"] === undefined;
    const text = typeof format === "string" && isPlain ? stringOfFormat(this.#rules, format) : undefined;
    if (text === undefined)
      throw this.#source.refusal(
        schema,
        "format",
        isPlain ? `${JSON.stringify(format)} cannot be enforced` : "cannot be enforced beside a length",
      );
    return text;
  }

  #pattern(schema: JsonSchema, pattern: unknown, { min, max }: { min: number; max: number | undefined }): string | undefined {
    const patterns = patternsOf(pattern);
    if (patterns === undefined) throw this.#source.refusal(schema, "pattern", "has to be a regular expression");
    try {
      return stringOfPatterns(this.#rules, patterns, min, max);
    } catch (thrown) {
      if (!(thrown instanceof PatternError)) throw thrown;
      throw this.#source.refusal(schema, "pattern", `cannot be enforced: ${thrown.message}`);
    }
  }

  #number(schema: JsonSchema, within: (rules: Rules, bounds: Bounds) => string | undefined): string | undefined {
    const { multipleOf } = schema;
    if (multipleOf !== undefined && !(multipleOf === 1 && within === integerWithin)) {
      throw this.#source.refusal(schema, "multipleOf", "cannot be enforced");
    }
    return within(this.#rules, {
      min: this.#limit(schema, "minimum"),
      max: this.#limit(schema, "maximum"),
      exclusiveMin: this.#limit(schema, "exclusiveMinimum"),
      exclusiveMax: this.#limit(schema, "exclusiveMaximum"),
    });
  }

  #limit(schema: JsonSchema, keyword: string): number | undefined {
    const value = schema[keyword];
    if (value === undefined || typeof value === "number") return value;
    throw this.#source.refusal(schema, keyword, "has to be a number");
  }

  /** @returns undefined where there is no number in it */
  #range(schema: JsonSchema, minKeyword: string, maxKeyword: string): { min: number; max: number | undefined } | undefined {
    const min = this.#count(schema, minKeyword) ?? 0;
    const max = this.#count(schema, maxKeyword);
    return max !== undefined && min > max ? undefined : { min, max };
  }

  #count(schema: JsonSchema, keyword: string): number | undefined {
    const value = schema[keyword];
    if (value === undefined) return undefined;
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0) {
      throw this.#source.refusal(schema, keyword, "has to be a whole number");
    }
    if (value > mostRepetitions) throw this.#source.refusal(schema, keyword, `can be ${mostRepetitions} at most`);
    return value;
  }
}

/** Whether a value of the type `actual` is one of `type`. */
function isOf(type: TypeName, actual: TypeName): boolean {
  return type === actual || (type === "number" && overlaps(type, actual));
}

/** @param field of the request that holds the schema, for errors. @throws {LlamapodError} `unsupported_schema` */
export function compileSchema(rules: Rules, schema: JsonSchema, field: string): string {
  const source = new SchemaSource(schema, field);
  const root = new SchemaCompiler(rules, source).compile(schema);
  if (root === undefined) throw source.refusal(schema, undefined, "can be satisfied by nothing");
  return root;
}

/** @param field of the request that the rules are made of, for errors */
export function newRules(field: string): Rules {
  return new Rules(
    () =>
      new LlamapodError("unsupported_schema", `${field}: becomes too large a grammar. Ask for less at once.`, { param: field }),
  );
}

/** The grammar of what satisfies a schema. @throws {LlamapodError} `unsupported_schema`, naming the JSON pointer */
export function schemaGrammar(schema: JsonSchema, field: string): string {
  const rules = newRules(field);
  return rules.text(compileSchema(rules, schema, field));
}

/** The grammar of any JSON object. */
export function objectGrammar(): string {
  const rules = newRules("response_format");
  return rules.text(anyObject(rules));
}
