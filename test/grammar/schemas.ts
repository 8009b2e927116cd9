import fc from "fast-check";
import type { JsonSchema } from "../../src/protocol/json-schema.ts";

/** A schema, and how values are made that satisfy it, in the order in which it names their properties. */
export interface Specimen {
  readonly schema: JsonSchema;
  readonly value: fc.Arbitrary<unknown>;
}

const text = fc.string({ unit: "grapheme", maxLength: 12 });
const key = fc
  .oneof(fc.constantFrom("a", "ab", "abc", "b", "né", 'quo"te', "back\\slash", "constructor", ""), text)
  // Ajv, which says what is right here, passes over a property of this name.
  .filter((name) => name !== "__proto__");

const scalars: fc.Arbitrary<Specimen> = fc.oneof(
  fc.constant({ schema: { type: "boolean" }, value: fc.boolean() }),
  fc.constant({ schema: { type: "null" }, value: fc.constant(null) }),
  fc.constant({ schema: { type: ["string", "null"] }, value: fc.option(text) }),
  fc.uniqueArray(fc.oneof(text, fc.integer(), fc.boolean()), { minLength: 1, maxLength: 4 }).map((values) => ({
    schema: { enum: values },
    value: fc.constantFrom(...values),
  })),
  text.map((only) => ({ schema: { const: only }, value: fc.constant(only) })),
  fc.tuple(fc.nat(5), fc.nat(8)).map(([minLength, more]) => ({
    schema: { type: "string", minLength, maxLength: minLength + more },
    value: fc.string({ unit: "binary-ascii", minLength, maxLength: minLength + more }),
  })),
  fc.tuple(fc.integer({ min: -2_000, max: 2_000 }), fc.nat(3_000)).map(([minimum, more]) => ({
    schema: { type: "integer", minimum, maximum: minimum + more },
    value: fc.integer({ min: minimum, max: minimum + more }),
  })),
  fc.tuple(fc.integer({ min: -500, max: 500 }), fc.integer({ min: 1, max: 900 })).map(([low, more]) => ({
    schema: { type: "number", exclusiveMinimum: low / 10, maximum: (low + more) / 10 },
    value: fc.integer({ min: low * 10 + 1, max: (low + more) * 10 }).map((hundredths) => hundredths / 100),
  })),
);

function arrayOf(item: Specimen): fc.Arbitrary<Specimen> {
  return fc.tuple(fc.nat(2), fc.option(fc.nat(3), { nil: undefined })).map(([minItems, more]) => ({
    schema: { type: "array", items: item.schema, minItems, ...(more !== undefined && { maxItems: minItems + more }) },
    value: fc.array(item.value, { minLength: minItems, maxLength: minItems + (more ?? 3) }),
  }));
}

function objectOf(
  members: readonly (readonly [string, Specimen, boolean])[],
  additional: Specimen | undefined,
): fc.Arbitrary<Specimen> {
  const required = members.filter(([, , isRequired]) => isRequired).map(([name]) => name);
  const own = fc.tuple(
    ...members.map(([, { value }, isRequired]) => fc.tuple(isRequired ? fc.constant(true) : fc.boolean(), value)),
  );
  const named = own.map((values) =>
    values.flatMap(([has, value], index) => (has ? [[members[index]?.[0] ?? "", value] as const] : [])),
  );
  const names = new Set(members.map(([name]) => name));
  const plainName = fc.stringMatching(/^[a-z]{0,4}$/).filter((name) => !names.has(name));
  const others =
    additional === undefined
      ? fc.constant([])
      : fc.uniqueArray(fc.tuple(plainName, additional.value), { maxLength: 2, selector: ([name]) => name });
  return fc.constant({
    schema: {
      type: "object",
      properties: Object.fromEntries(members.map(([name, { schema }]) => [name, schema])),
      required,
      additionalProperties: additional?.schema ?? false,
    },
    value: fc.tuple(named, others).map(([first, then]) => new Entries([...first, ...then])),
  });
}

/** An object of which the order of properties is kept, even of those that look like numbers. */
export class Entries {
  readonly entries: readonly (readonly [string, unknown])[];

  constructor(entries: readonly (readonly [string, unknown])[]) {
    this.entries = entries;
  }
}

/** As `JSON.stringify` writes it, with the properties in their order. */
export function write(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(write).join(",")}]`;
  if (!(value instanceof Entries)) return JSON.stringify(value);
  return `{${value.entries.map(([name, part]) => `${JSON.stringify(name)}:${write(part)}`).join(",")}}`;
}

export const specimens: fc.Arbitrary<Specimen> = fc.letrec<{ any: Specimen }>((tie) => {
  const members = fc.uniqueArray(fc.tuple(key, tie("any"), fc.boolean()), { maxLength: 4, selector: ([name]) => name });
  return {
    any: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      { arbitrary: scalars, weight: 2 },
      { arbitrary: tie("any").chain(arrayOf), weight: 1 },
      { arbitrary: fc.tuple(members, fc.option(tie("any"), { nil: undefined })).chain((args) => objectOf(...args)), weight: 2 },
      {
        arbitrary: fc.tuple(tie("any"), tie("any")).map(([one, other]) => ({
          schema: { anyOf: [one.schema, other.schema] },
          value: fc.oneof(one.value, other.value),
        })),
        weight: 1,
      },
    ),
  };
}).any;
