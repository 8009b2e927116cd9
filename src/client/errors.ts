import type { Failure } from "./generation.ts";

/** Why a generation or a switch did not end well, in the server's words where it had any. */
export class ClientError extends Error {
  override readonly name = "ClientError";
  /** One of the server's error codes, or of ours: `unreachable`, `refused`, `closed`, `text_mismatch`. */
  readonly code: string;
  /** Whether the same request may succeed later without being changed. */
  readonly retryable: boolean;
  /** The field of the request that was at fault. */
  readonly param: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor({ code, message, retryable, param, retryAfterMs }: Failure) {
    super(message);
    this.code = code;
    this.retryable = retryable;
    this.param = param;
    this.retryAfterMs = retryAfterMs;
  }
}
