import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { z } from "zod";
import { objectGrammar, schemaGrammar } from "../../src/models/runner/grammar/schema-grammar.ts";
import { LlamapodError } from "../../src/protocol/errors.ts";
import type { JsonSchema } from "../../src/protocol/json-schema.ts";
import { nativeGrammar } from "./native.ts";
import { specimens, write } from "./schemas.ts";

const ajv = new Ajv2020({ strict: false, validateFormats: false, ownProperties: true });

function grammarOf(schema: JsonSchema): (text: string) => boolean {
  return nativeGrammar(schemaGrammar(schema, "schema"));
}

function validates(schema: JsonSchema, text: string): boolean {
  return ajv.validate(schema, JSON.parse(text));
}

test("what satisfies a schema is accepted by llama.cpp's own grammar", () => {
  const made = specimens.chain(({ schema, value }) =>
    fc.tuple(fc.constant(schema), fc.array(value, { minLength: 1, maxLength: 5 })),
  );
  fc.assert(
    fc.property(made, ([schema, values]) => {
      const accepts = grammarOf(schema);
      for (const text of values.map(write)) assert.ok(accepts(text), text);
    }),
    { numRuns: 300 },
  );
});

test("what does not satisfy a schema is not accepted", () => {
  const made = fc
    .tuple(specimens, specimens)
    .chain(([{ schema, value }, other]) =>
      fc.tuple(fc.constant(schema), fc.array(fc.oneof(value, other.value), { maxLength: 3 })),
    );
  fc.assert(
    fc.property(made, fc.nat(), ([schema, values], random) => {
      const accepts = grammarOf(schema);
      for (const text of values.map(write).flatMap((valid) => [valid, ...broken(valid, random)])) {
        if (accepts(text)) assert.ok(validates(schema, text), text);
      }
    }),
    { numRuns: 150 },
  );
});

/** Texts that differ a little from the given one; most are no longer valid in one way or another. */
function broken(text: string, random: number): string[] {
  const at = random % (text.length + 1);
  const candidates = ["1", "0", "-", ".", '"', ",", "}", "a", "null", " "].map(
    (piece) => text.slice(0, at) + piece + text.slice(at),
  );
  return [...candidates, text.slice(0, at) + text.slice(at + 1)].filter(isJson);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

test("bounds of numbers: exactly those within them, for as many digits as a double tells apart", () => {
  const bound = fc.option(
    fc.oneof(
      fc.integer({ min: -120, max: 120 }),
      fc.integer({ min: -1_200, max: 1_200 }).map((value) => value / 10),
      fc.double({ min: -3, max: 3, noNaN: true }).map((value) => Number(value.toFixed(4))),
    ),
    { nil: undefined },
  );
  const near = (limit: number | undefined) =>
    fc.integer({ min: -30, max: 30 }).map((steps) => Number(((limit ?? 0) + steps / 20).toFixed(6)));
  const made = fc.tuple(bound, bound, bound, bound).chain(([minimum, maximum, exclusiveMinimum, exclusiveMaximum]) => {
    const limits = Object.entries({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }).filter(
      ([, limit]) => limit !== undefined,
    );
    const candidates = [minimum, maximum, exclusiveMinimum, exclusiveMaximum].map((limit) =>
      fc.array(near(limit), { maxLength: 12 }),
    );
    return fc.tuple(
      fc.constant(Object.fromEntries(limits)),
      fc.tuple(...candidates).map((lists) => lists.flat()),
    );
  });
  fc.assert(
    fc.property(made, fc.constantFrom("number", "integer"), ([limits, candidates], type) => {
      const schema = { anyOf: [{ type, ...limits }, { const: "nothing" }] };
      const accepts = grammarOf(schema);
      for (const candidate of candidates.map((value) => JSON.stringify(value)).filter((text) => !text.includes("e"))) {
        if (type === "integer" && candidate.includes(".")) continue;
        assert.equal(accepts(candidate), validates(schema, candidate), `${candidate} in ${JSON.stringify(limits)}`);
      }
    }),
    { numRuns: 500 },
  );
});

test("patterns: exactly the strings in which they are found", () => {
  const leaf = fc.constantFrom("a", "b", ".", "[ab]", "[^a]", "\\d", "\\n", '"');
  const { regex } = fc.letrec<{ regex: string }>((tie) => ({
    regex: fc.oneof(
      { maxDepth: 4 },
      leaf,
      fc.tuple(tie("regex"), tie("regex")).map(([one, other]) => one + other),
      fc.tuple(tie("regex"), tie("regex")).map(([one, other]) => `(?:${one}|${other})`),
      fc.tuple(tie("regex"), fc.constantFrom("*", "+?", "?", "{2}", "{1,3}")).map(([one, times]) => `(?:${one})${times}`),
    ),
  }));
  const edge = fc.constantFrom("", "^", "^(?=a)", "^(?![ab]+$)");
  const pattern = fc.tuple(edge, regex, fc.constantFrom("", "$")).map((parts) => parts.join(""));
  const texts = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c", "1", "\n", '"', "😀"), maxLength: 6 }), {
    maxLength: 20,
  });
  fc.assert(
    fc.property(pattern, texts, (pattern, candidates) => {
      const accepts = grammarOf({ anyOf: [{ type: "string", pattern }, { const: 0 }] });
      const expression = new RegExp(pattern, "u");
      for (const text of candidates)
        assert.equal(accepts(JSON.stringify(text)), expression.test(text), `${JSON.stringify(text)} in ${pattern}`);
    }),
    { numRuns: 300 },
  );
});

test("white space: compact, with spaces, and indented; never without end", () => {
  const value = { a: [1, { b: null }], c: "x" };
  for (const accepts of [
    nativeGrammar(objectGrammar()),
    grammarOf({ type: "object", properties: { a: true, c: { type: "string" } } }),
  ]) {
    assert.ok(accepts(JSON.stringify(value)));
    assert.ok(accepts(JSON.stringify(value, null, 2)));
    assert.ok(accepts('{"a": [1, {"b": null}], "c": "x"}'));
    assert.ok(!accepts(`{${" ".repeat(30)}"a":1}`));
  }
});

describe("what a schema says", () => {
  const cases: { name: string; schema: JsonSchema; yes: readonly unknown[]; no: readonly unknown[] }[] = [
    {
      name: "references, also to oneself",
      schema: {
        $ref: "#/$defs/tree",
        $defs: {
          tree: {
            type: "object",
            properties: { n: { type: "integer" }, kids: { type: "array", items: { $ref: "#/$defs/tree" } } },
            required: ["n"],
          },
        },
      },
      yes: [{ n: 1 }, { n: 1, kids: [{ n: 2, kids: [] }] }],
      no: [{}, { n: 1, kids: [{}] }],
    },
    {
      name: "the root as a list of itself",
      schema: { type: "array", items: { $ref: "#" } },
      yes: [[], [[], [[]]]],
      no: [1, [1]],
    },
    {
      name: "allOf: properties of both",
      schema: {
        allOf: [
          { properties: { a: { type: "integer" } }, required: ["a"] },
          { properties: { b: { type: "string" } }, required: ["b"] },
        ],
      },
      yes: [{ a: 1, b: "x" }],
      no: [{ a: 1 }, { b: "x" }],
    },
    {
      name: "keywords beside anyOf hold for each alternative",
      schema: {
        type: "object",
        properties: { a: { type: "integer" } },
        required: ["a"],
        anyOf: [
          { properties: { b: { const: 1 } }, required: ["b"] },
          { properties: { c: { const: 2 } }, required: ["c"] },
        ],
      },
      yes: [
        { a: 1, b: 1 },
        { a: 1, c: 2 },
      ],
      no: [{ a: 1 }, { b: 1 }],
    },
    {
      name: "oneOf, told apart by a property",
      schema: {
        oneOf: ["x", "y"].map((kind) => ({
          type: "object",
          properties: { kind: { const: kind }, [kind]: { type: "integer" } },
          required: ["kind", kind],
        })),
      },
      yes: [
        { kind: "x", x: 1 },
        { kind: "y", y: 1 },
      ],
      no: [{ kind: "x", y: 1 }],
    },
    {
      name: "a place for each of the first items",
      schema: { type: "array", prefixItems: [{ type: "string" }, { type: "integer" }] },
      yes: [["a", 1]],
      no: [["a"], [1, "a"], ["a", 1, 2]],
    },
    {
      name: "additional properties cannot take a declared name",
      schema: { type: "object", properties: { ab: { type: "integer" } }, additionalProperties: { type: "string" } },
      yes: [{ ab: 1, a: "x", abc: "y", "": "z" }, { b: "x" }],
      no: [{ ab: "x" }, { a: 1 }],
    },
    {
      name: "properties that JavaScript has of its own",
      schema: JSON.parse(
        '{"type": "object", "properties": {"__proto__": {"type": "integer"}}, "required": ["toString"]}',
      ) as JsonSchema,
      yes: [JSON.parse('{"__proto__": 1, "toString": 2}')],
      no: [{}, JSON.parse('{"__proto__": "x", "toString": 2}')],
    },
    {
      name: "null as one of several types",
      schema: { type: "object", properties: { a: { type: ["string", "null"], minLength: 2 } }, required: ["a"] },
      yes: [{ a: null }, { a: "xy" }],
      no: [{ a: "x" }, { a: 1 }],
    },
    {
      name: "formats",
      schema: {
        type: "array",
        prefixItems: ["date", "time", "date-time", "uuid", "ipv4", "email", "duration"].map((format) => ({
          type: "string",
          format,
        })),
      },
      yes: [
        [
          "2024-02-28",
          "23:59:59Z",
          "2024-12-31T00:00:00.5+01:00",
          "123e4567-e89b-12d3-a456-426614174000",
          "10.0.255.1",
          "a.b@example.org",
          "P1DT2H",
        ],
      ],
      no: [
        [
          "2024-02-30",
          "23:59:59Z",
          "2024-12-31T00:00:00Z",
          "123e4567-e89b-12d3-a456-426614174000",
          "10.0.255.1",
          "a.b@example.org",
          "P1D",
        ],
      ],
    },
  ];
  const pattern = (source: string, more: JsonSchema = {}): JsonSchema => ({ type: "string", pattern: source, ...more });
  cases.push(
    {
      name: "a pattern from edge to edge",
      schema: pattern("^[A-Z]{2,3}-\\d+$"),
      yes: ["AB-1", "ABC-123456"],
      no: ["A-1", "ABCD-1", "AB-", "AB-1 ", " AB-1", "ab-1", ""],
    },
    { name: "a pattern somewhere", schema: pattern("a.c"), yes: ["abc", "xxabcxx", 'a"c\n'], no: ["", "ac", "a\nc"] },
    { name: "a pattern at either edge", schema: pattern("^a|b$"), yes: ["a", "ax", "xb", "b"], no: ["", "xa", "bx"] },
    {
      name: "a pattern of characters that JSON writes with an escape",
      schema: pattern('^[\\n\\t"\\\\\\x01/]{3}$'),
      yes: ['\n"\\', "\t\u0001/"],
      no: ["\n\n", "nnn", "\r\r\r"],
    },
    {
      name: "a pattern beyond the first plane",
      schema: pattern("^\\p{Emoji_Presentation}.é$"),
      yes: ["😀😀é"],
      no: ["😀é", "aaé"],
    },
    {
      name: "a pattern and a length",
      schema: pattern("^(ab)*$", { minLength: 3, maxLength: 6 }),
      yes: ["abab", "ababab"],
      no: ["ab", "aba", "abababab"],
    },
    {
      name: "a pattern and a length in characters",
      schema: pattern("é", { maxLength: 2 }),
      yes: ["é", "😀é"],
      no: ["😀😀é", "e"],
    },
    {
      name: "conditions at the start of a pattern",
      schema: pattern("^(?!\\.)(?!.*\\.\\.)(?=.*x$|y)[a-z.]+$"),
      yes: ["a.x", "y.a", "x"],
      no: [".x", "a..x", "a.y", "x.", "X"],
    },
    {
      name: "patterns of which each has to be found",
      schema: { allOf: [pattern("a|b"), pattern("^\\w+$"), { maxLength: 4 }] },
      yes: ["xa", "bcde"],
      no: ["x", "a b", "abcde"],
    },
    {
      name: "the same pattern in many places",
      schema: { type: "array", prefixItems: Array.from({ length: 50 }, () => pattern("^x$")) },
      yes: [Array.from({ length: 50 }, () => "x")],
      no: [["x"]],
    },
    { name: "a pattern makes it a string", schema: { pattern: "^$" }, yes: [""], no: ["a", 1] },
    {
      name: "what zod makes of an e-mail address, and of a date",
      schema: {
        type: "array",
        prefixItems: [z.email(), z.iso.datetime(), z.uuid()].map((type) => z.toJSONSchema(type) as JsonSchema),
      },
      yes: [["ada.l@example.org", "2024-02-29T12:00:00Z", "123e4567-e89b-12d3-a456-426614174000"]],
      no: [
        ["ada..l@example.org", "2024-02-29T12:00:00Z", "123e4567-e89b-12d3-a456-426614174000"],
        ["ada.l@example.org", "2023-02-29T12:00:00Z", "123e4567-e89b-12d3-a456-426614174000"],
        ["ada.l@example.org", "2024-02-29T12:00:00Z", "123e4567-e89b-12d3-a456"],
      ],
    },
  );
  for (const { name, schema, yes, no } of cases) {
    test(name, () => {
      const accepts = grammarOf(schema);
      for (const value of yes)
        assert.ok(accepts(JSON.stringify(value)) && validates(schema, JSON.stringify(value)), JSON.stringify(value));
      for (const value of no) assert.ok(!accepts(JSON.stringify(value)), JSON.stringify(value));
    });
  }
});

/** References one behind the other. */
function chain(length: number): JsonSchema {
  const definitions = Array.from({ length }, (_, index) => [`d${index}`, { $ref: `#/$defs/d${index + 1}`, type: "string" }]);
  return { $ref: "#/$defs/d0", minLength: 1, $defs: Object.fromEntries([...definitions, [`d${length}`, {}]]) as unknown };
}

test("many values are found without trying each token with each of them", () => {
  const values = Array.from({ length: 3_000 }, (_, index) => `v${index}`);
  const accepts = grammarOf({ enum: [...values, "v", "värde", 7, null] });
  for (const value of [...values.slice(0, 30), "v", "värde", 7, null]) assert.ok(accepts(JSON.stringify(value)), String(value));
  for (const value of ["", "v3000", "vä", 77, "w"]) assert.ok(!accepts(JSON.stringify(value)), String(value));
});

describe("what cannot be enforced is refused with the place", () => {
  const object = (property: unknown) => ({ type: "object", properties: { a: property } });
  const cases: readonly (readonly [place: string, schema: JsonSchema])[] = [
    ["#/properties/a/not", object({ not: { type: "string" } })],
    ["#/properties/a/pattern", object({ type: "string", pattern: "a(?=b)c" })],
    ["#/properties/a/pattern", object({ type: "string", pattern: "([ab]+)\\1" })],
    ["#/properties/a/pattern", object({ type: "string", pattern: "(" })],
    ["#/properties/a/pattern", object({ type: "string", pattern: 7 })],
    ["#/properties/a/pattern", object({ type: "string", pattern: "(a|b)*a(a|b){30}$" })],
    ["#/allOf/1/pattern", { allOf: [{ type: "string", pattern: "a" }, { pattern: 7 }] }],
    ["# can be satisfied by nothing", { type: "string", pattern: "^abc$", maxLength: 2 }],
    ["#/properties/a/format", object({ type: "string", format: "uri" })],
    ["#/properties/a/multipleOf", object({ type: "number", multipleOf: 0.5 })],
    ["#/properties/a/maxLength", object({ type: "string", maxLength: 5_000 })],
    ["#/properties/a/uniqueItems", object({ type: "array", uniqueItems: true })],
    ["#/patternProperties", { type: "object", patternProperties: { a: true } }],
    ["#/properties has a name", { type: "object", properties: { ["x".repeat(50_000)]: true }, additionalProperties: true }],
    ["references and combinations deep", chain(500)],
    [
      "becomes too large a grammar",
      { type: "object", properties: Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`p${index}`, {}])) },
    ],
    [
      "becomes too large a grammar",
      {
        type: "object",
        properties: Object.fromEntries(Array.from({ length: 60 }, (_, index) => [`p${index}`, { pattern: `^${index}` }])),
      },
    ],
    ["#/properties/a/pattern", object({ type: "string", pattern: "^(\\p{L}|\\p{N}){700}$" })],
    [
      "#/properties/a/pattern",
      object({
        type: "string",
        pattern: `^(${Array.from({ length: 220 }, (_, index) => String.fromCodePoint(0x4e00 + index, 0x5e00 + index)).join("|")})$`,
      }),
    ],
    ["#/minProperties", { type: "object", properties: { a: true }, minProperties: 1 }],
    ["#/if", { if: true, then: false }],
    ["#/properties/a~1b/if", { properties: { "a/b": { if: true } } }],
    ["#/$defs/x/$ref", { $ref: "#/$defs/x", $defs: { x: { $ref: "#/$defs/x" } } }],
    ["#/$ref", { $ref: "#/$defs/missing" }],
    ["#/$ref", { $ref: "https://example.org/schema" }],
    ["#/oneOf", { oneOf: [{ type: "integer" }, { type: "number" }] }],
    ["# can be satisfied by nothing", { type: "object", properties: { a: false }, required: ["a"] }],
    ["# can be satisfied by nothing", { allOf: [{ type: "string" }, { type: "integer" }] }],
    [
      "becomes too large a grammar",
      {
        type: "object",
        properties: Object.fromEntries(
          Array.from({ length: 30 }, (_, index) => [`p${index}`, { type: "string", maxLength: 1_000 + index }]),
        ),
      },
    ],
  ];
  for (const [place, schema] of cases) {
    test(`${place} in ${JSON.stringify(schema).slice(0, 60)}`, () => {
      assert.throws(
        () => schemaGrammar(schema, "response_format.json_schema.schema"),
        (error) => {
          assert.ok(error instanceof LlamapodError, String(error));
          assert.equal(error.code, "unsupported_schema");
          assert.equal(error.param, "response_format.json_schema.schema");
          assert.ok(error.message.includes(place), error.message);
          return true;
        },
      );
    });
  }
});
