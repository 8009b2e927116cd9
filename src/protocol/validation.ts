import type { z } from "zod";
import { LlamapodError } from "./errors.ts";
import { isDeeper } from "./nesting.ts";

/** Values in values, in any request. A JSON Schema within one has a limit of its own. */
const deepest = 128;

/** @throws {LlamapodError} `invalid_json` */
export function parseFrame(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LlamapodError("invalid_json", "The frame is not valid JSON.", { cause });
  }
}

/** What schemas let through as it is has to be written again. @throws {LlamapodError} `invalid_message` */
export function checkNesting(value: unknown): void {
  if (isDeeper(value, deepest)) {
    throw new LlamapodError("invalid_message", `The message is nested deeper than ${deepest} levels.`);
  }
}

/** The first thing that a schema found wrong, as the error that the sender gets: which field, and why. */
export function issueToError(error: z.ZodError): LlamapodError {
  const [issue] = error.issues;
  if (issue === undefined) return new LlamapodError("invalid_message", "The message is not understood.");
  const unknown = issue.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  const path = [...issue.path, ...(unknown === undefined ? [] : [unknown])].map(String).join(".");
  const reason = unknown === undefined ? issue.message : "is not a known field";
  const message = path === "" ? `The message is not understood: ${reason}.` : `${path}: ${reason}.`;
  return new LlamapodError("invalid_message", message, path === "" ? {} : { param: path });
}
