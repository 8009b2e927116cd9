import type { Target } from "./http.ts";

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
