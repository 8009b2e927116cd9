import { DownloadError, TransientError } from "./errors.ts";
import type { Answer, Target } from "./http.ts";

/** A file that can be downloaded, and what is known about it beforehand. */
export interface RemoteFile {
  /** Asked before every request, as rights may expire. */
  readonly target: (signal: AbortSignal) => Promise<Target>;
  /** The name it gets in the models folder. */
  readonly fileName: string;
  readonly sizeBytes: number | undefined;
  readonly sha256: string | undefined;
  /** What to say when access is refused. */
  readonly denied: (status: number) => string;
}

/** @returns the last part of a path, as a name that is safe in a folder; nothing when there is none that ends in .gguf */
export function safeFileName(path: string): string | undefined {
  const name = path.split("/").at(-1) ?? "";
  return /^[\w][\w.+ -]{0,190}\.gguf$/i.test(name) ? name : undefined;
}

/** @throws {TransientError} for what may pass; {DownloadError} `denied`, `not_found`, `unreachable` */
export function checkAnswer(file: RemoteFile, { status, url, body }: Answer): void {
  if (status === 200 || status === 206) return;
  // Nobody reads what it says.
  body.destroy();
  if (status === 401 || status === 403) throw new DownloadError("denied", file.denied(status));
  if (status === 404 || status === 410)
    throw new DownloadError("not_found", `${url.host} has no ${file.fileName} (status ${status}).`);
  if (status === 408 || status === 429 || status >= 500) throw new TransientError(`${url.host} answers with status ${status}`);
  throw new DownloadError("unreachable", `${url.host} answers with status ${status} to the download of ${file.fileName}.`);
}
