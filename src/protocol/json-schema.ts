import { z } from "zod";
import { isDeeper } from "./nesting.ts";

/** Values in values; what is deeper is no schema that anybody wrote. */
const deepestSchema = 64;

/** JSON Schema. Which of it can be enforced is decided where its grammar is made. */
export const jsonSchema = z
  .record(z.string(), z.unknown(), { error: "must be a JSON Schema: an object" })
  .refine((schema) => !isDeeper(schema, deepestSchema), `is nested deeper than ${deepestSchema} levels`);

export type JsonSchema = z.output<typeof jsonSchema>;

const formatName = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "must be 1 to 64 of A-Z, a-z, 0-9, _ and -");

/** What a client calls a schema, and says of it. A schema is always enforced, whatever `strict` is. */
export const schemaFields = {
  name: formatName,
  description: z.string().optional(),
  strict: z.boolean().nullish(),
};
