import { z } from "zod";

export type JsonObject = Readonly<Record<string, unknown>>;

/** In which schemas are written: what OpenAPI 3.1 builds on, and what every tool for AsyncAPI has to understand. */
export const dialects = {
  "draft-2020-12": "https://json-schema.org/draft/2020-12/schema",
  "draft-7": "application/schema+json;version=draft-07",
} as const;

type Dialect = keyof typeof dialects;

/** A schema as it is published. What is sent may have more fields than it names; what is taken may not. */
export function jsonSchema(schema: z.ZodType, target: Dialect): JsonObject {
  const made = z.toJSONSchema(schema, { target, io: "input", unrepresentable: "any" });
  // The documents say by their own means which dialect theirs is.
  return Object.fromEntries(Object.entries(made).filter(([name]) => name !== "$schema"));
}

/** The same for each of several, by name. */
export function jsonSchemas(schemas: Readonly<Record<string, z.ZodType>>, target: Dialect): JsonObject {
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, jsonSchema(schema, target)]));
}
