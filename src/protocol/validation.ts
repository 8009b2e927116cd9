import type { z } from "zod";
import { LlamapodError } from "./errors.ts";

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
