/** Why a download did not work, as far as it matters to whoever asked for it. */
export type DownloadFailure =
  "bad_target" | "not_found" | "unreachable" | "denied" | "damaged" | "no_space" | "folder_not_writable" | "cancelled";

/** The message says what was wrong, where, and what to do. */
export class DownloadError extends Error {
  override readonly name = "DownloadError";
  readonly failure: DownloadFailure;

  constructor(failure: DownloadFailure, message: string, cause?: unknown) {
    super(message, { cause });
    this.failure = failure;
  }
}

/** Whether the same request may work if it is made again. */
export class TransientError extends Error {}
