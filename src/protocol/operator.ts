import { z } from "zod";
import { errorCodes } from "./errors.ts";
import { logLevels } from "./runner.ts";
import { modelState } from "./stream.ts";

/** What the operator's routes under `/api` answer. */

const bytes = z.int().min(0);

export const modelObject = z.object({
  id: z.string(),
  /** What else it is called in requests. */
  aliases: z.array(z.string()),
  state: modelState,
  active: z.boolean(),
  size_bytes: bytes,
  /** It comes with llamapod. */
  built_in: z.boolean(),
  /** Null until it has been estimated. */
  memory_estimate_bytes: bytes.nullable(),
  /** Whether there is memory for it, if others make room; null until it has been estimated. */
  fits: z.boolean().nullable(),
  /** Of a load, 0 to 1. */
  progress: z.number().min(0).max(1).optional(),
  reason: z.string().optional(),
});

export const modelObjects = z.object({ models: z.array(modelObject) });

const memoryObject = z.object({ ram_bytes: bytes, vram_bytes: bytes });

export const planObject = z.object({
  /** It is loaded already; it fits beside the others; others have to go; or it cannot fit. */
  outcome: z.enum(["resident", "beside", "evicts", "short"]),
  evicts: z.array(z.string()),
  missing: memoryObject.nullable(),
  needed: memoryObject,
  /** By the models that are loaded now. */
  taken: memoryObject,
  /** What all models together may take. */
  capacity: memoryObject,
});

export const operationObject = z.object({
  id: z.string(),
  kind: z.enum(["switch", "load", "unload", "pull"]),
  model: z.string(),
  state: z.enum(["queued", "running", "done", "failed", "cancelled"]),
  /** What is going on, in a word. */
  phase: z.string().nullable(),
  done_bytes: bytes,
  total_bytes: bytes,
  error: z.object({ code: z.enum(errorCodes), message: z.string() }).nullable(),
});

/** What writes log lines, and from which level on. */
export const logLevelsObject = z.object({ server: z.enum(logLevels), "llama.cpp": z.enum(logLevels) });

export const logLevelsChange = z.strictObject(logLevelsObject.partial().shape);

export type ModelObject = z.output<typeof modelObject>;
export type PlanObject = z.output<typeof planObject>;
export type OperationObject = z.output<typeof operationObject>;
export type OperationKind = OperationObject["kind"];
/** `queued -> running -> done | failed | cancelled` */
export type OperationState = OperationObject["state"];
