import type { Logger } from "pino";
import type { LlamapodError } from "../protocol/errors.ts";

/** Logs the cause of an error that is the server's own, which clients are not told. What was asked for is no part of `fields`. */
export function logMistake(
  log: Logger,
  { code, cause }: LlamapodError,
  fields: Readonly<Record<"request_id", string>> & Readonly<Record<string, string>>,
): void {
  // One without a cause comes from where that has been logged.
  if (code === "internal" && cause !== undefined) log.error({ ...fields, err: cause }, "request failed");
}
