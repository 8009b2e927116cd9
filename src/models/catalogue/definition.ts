import { z } from "zod";
import type { Sampling } from "../../protocol/request.ts";

/** What is known about a model beside its file: of a built-in entry, or of one in `models.yaml`. */

/** Ids are keys, never paths; they stand in URLs and labels. */
export const modelId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,127}$/i, "must begin with a letter or a digit and go on with letters, digits, '.', '_' and '-'")
  .transform((id) => id.toLowerCase());

const fileName = z
  .string()
  .regex(/^[^/\\]+\.gguf$/i, "must be the name of a .gguf file in the models folder, without a path")
  .max(200);

const sampling = z
  .strictObject({
    temperature: z.number().min(0).max(5).optional(),
    topP: z.number().gt(0).max(1).optional(),
    topK: z.int().min(0).max(1_000_000).optional(),
    minP: z.number().min(0).max(1).optional(),
    repeatPenalty: z.number().gt(0).max(10).optional(),
    presencePenalty: z.number().min(-2).max(2).optional(),
    frequencyPenalty: z.number().min(-2).max(2).optional(),
  })
  .transform((given): Partial<Sampling> => Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)));

const licence = z.strictObject({
  name: z.string().min(1),
  /** Where it can be read, and accepted if it has to be. */
  url: z.url().optional(),
});

export const modelDefinition = z.strictObject({
  /** What else the model is called in requests. */
  aliases: z.array(modelId).optional(),
  title: z.string().min(1).optional(),
  /** Its name in the models folder; of a split model the first part. */
  file: fileName.optional(),
  /** Where `llamapod pull` gets it: `hf://owner/repository/file.gguf`, `https://...`, `oci://...`. */
  source: z.string().min(1).optional(),
  sizeBytes: z.int().min(1).optional(),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/i, "must be 64 hexadecimal digits")
    .transform((digest) => digest.toLowerCase())
    .optional(),
  licence: licence.optional(),
  /** Whether the source hands it out only to those who have accepted the licence. */
  gated: z.boolean().optional(),
  /** Tokens of prompt and answer together that the model was trained for, or that it may have here. */
  contextSize: z.int().min(256).optional(),
  /** Instead of the file's own: the name of one of llamapod's chat formats, or Jinja. */
  chatTemplate: z
    .string()
    .min(1)
    .max(256 * 1024)
    .optional(),
  /** Strings that end an answer in a conversation, beside those of the request. */
  stop: z.array(z.string().min(1).max(128)).max(8).optional(),
  /** Used where a request says nothing. */
  sampling: sampling.optional(),
});

export type ModelDefinition = z.output<typeof modelDefinition>;

export const modelDefinitions = z.record(modelId, modelDefinition);
