import { z } from "zod";

export type JsonObject = Readonly<Record<string, unknown>>;

/** A schema as it is published. What is sent may have more fields than it names; what is taken may not. */
export function jsonSchema(schema: z.ZodType): JsonObject {
  const made = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  // The documents say once which dialect theirs is.
  return Object.fromEntries(Object.entries(made).filter(([name]) => name !== "$schema"));
}

/** The same for each of several, by name. */
export function jsonSchemas(schemas: Readonly<Record<string, z.ZodType>>): JsonObject {
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, jsonSchema(schema)]));
}
