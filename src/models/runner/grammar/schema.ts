import { LlamapodError } from "../../../protocol/errors.ts";
import type { JsonSchema } from "../../../protocol/json-schema.ts";

/** JSON Schema as it comes, as far as it says what an answer may be. */

export type Schema = JsonSchema | boolean;

/** Say something about the value, and forbid none. */
const annotations = new Set(
  ["$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples"].concat([
    "deprecated",
    "readOnly",
    "writeOnly",
  ]),
);

export const combinators = ["$ref", "allOf", "anyOf", "oneOf"] as const;

const keywordsOfType = {
  object: ["properties", "required", "additionalProperties", "minProperties", "maxProperties"],
  array: ["items", "prefixItems", "minItems", "maxItems", "uniqueItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
} as const;

const understood = new Set<string>([...combinators, "type", "enum", "const", ...Object.values(keywordsOfType).flat()]);

export const typeNames = ["object", "array", "string", "number", "integer", "boolean", "null"] as const;
export type TypeName = (typeof typeNames)[number];

/** A schema's parts by their place, and the place of each part. */
export class SchemaSource {
  readonly root: JsonSchema;
  readonly #field: string;
  readonly #places = new Map<object, string>();

  /** @param field of the request, for errors */
  constructor(root: JsonSchema, field: string) {
    this.root = root;
    this.#field = field;
    this.#walk(root, "");
  }

  /** @throws {LlamapodError} `unsupported_schema` for a reference to nothing, or to somewhere else */
  resolve(reference: unknown, from: JsonSchema): Schema {
    const isLocal = typeof reference === "string" && /^#(\/|$)/.test(reference);
    if (!isLocal) throw this.refusal(from, "$ref", "has to be a pointer into this schema, such as #/$defs/name");
    let found: unknown = this.root;
    for (const step of reference.split("/").slice(1)) {
      const name = decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
      found = typeof found === "object" && found !== null && Object.hasOwn(found, name) ? Reflect.get(found, name) : undefined;
    }
    if (isSchema(found)) return found;
    throw this.refusal(from, "$ref", `${reference} is not in this schema`);
  }

  /** Makes a schema that stands nowhere in the source stand where another one does. */
  derive(schema: JsonSchema, from: JsonSchema): JsonSchema {
    this.#places.set(schema, this.#places.get(from) ?? "");
    return schema;
  }

  /** The keywords that say what a value may be. @throws {LlamapodError} `unsupported_schema` where one is not understood */
  keywords(schema: JsonSchema): string[] {
    const effective = Object.keys(schema).filter((keyword) => !annotations.has(keyword) && schema[keyword] !== undefined);
    const unknown = effective.find((keyword) => !understood.has(keyword));
    if (unknown !== undefined) throw this.refusal(schema, unknown, "cannot be enforced");
    return effective;
  }

  refusal(schema: JsonSchema, keyword: string | undefined, reason: string): LlamapodError {
    const pointer = `#${this.#places.get(schema) ?? ""}${keyword === undefined ? "" : `/${escapePointer(keyword)}`}`;
    return new LlamapodError("unsupported_schema", `${this.#field}: ${pointer} ${reason}.`, { param: this.#field });
  }

  #walk(value: unknown, place: string): void {
    if (typeof value !== "object" || value === null) return;
    if (!Array.isArray(value)) this.#places.set(value, place);
    for (const [name, part] of Object.entries(value)) this.#walk(part, `${place}/${escapePointer(name)}`);
  }
}

export function isSchema(value: unknown): value is Schema {
  return typeof value === "boolean" || (typeof value === "object" && value !== null && !Array.isArray(value));
}

/**
 * The types that a value may have. Where the schema does not say, the keywords do: whoever writes `properties` means an
 * object. Undefined is any.
 */
export function typesOf(schema: JsonSchema, source: SchemaSource): ReadonlySet<TypeName> | undefined {
  const { type, enum: values } = schema;
  if (type !== undefined) {
    const names = Array.isArray(type) ? (type as unknown[]) : [type];
    if (!names.every(isTypeName)) throw source.refusal(schema, "type", `has to be one or several of ${typeNames.join(", ")}`);
    return new Set(names);
  }
  if (Array.isArray(values)) return new Set(values.map(typeOfValue));
  if (schema["const"] !== undefined) return new Set([typeOfValue(schema["const"])]);
  const meant = Object.entries(keywordsOfType).flatMap(([name, keywords]) =>
    keywords.some((keyword) => schema[keyword] !== undefined) ? [name as keyof typeof keywordsOfType] : [],
  );
  return meant.length === 0 ? undefined : new Set(meant);
}

export function typeOfValue(value: unknown): TypeName {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return isTypeName(typeof value) ? (typeof value as TypeName) : "object";
}

/** Whether a value of one type may be one of the other, too. */
export function overlaps(a: TypeName, b: TypeName): boolean {
  return a === b || (a === "integer" && b === "number") || (a === "number" && b === "integer");
}

function isTypeName(value: unknown): value is TypeName {
  return typeNames.some((name) => name === value);
}

/** The same text for equal values, whatever the order of their properties. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

function escapePointer(name: string): string {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}
