import { lstat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { DownloadError } from "./errors.ts";

/** @throws {DownloadError} `no_space`, with what is needed and what there is */
export async function checkSpace(path: string, fileName: string, neededBytes: number): Promise<void> {
  const folder = dirname(path);
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (neededBytes <= free) return;
  throw new DownloadError(
    "no_space",
    `${fileName} needs ${neededBytes} bytes more, and ${folder} has ${free} free. Make room, or choose another folder with --models-dir.`,
  );
}

/** What a file takes of its disk, which is less than its size while there are holes in it; 0 where there is none. */
export async function allocatedBytes(path: string): Promise<number> {
  const found = await lstat(path).catch(() => undefined);
  return found === undefined ? 0 : found.blocks * 512;
}

/** @returns `no_space` for what a full disk has thrown; everything else as it is */
export function diskError(thrown: unknown, fileName: string): unknown {
  if (!(thrown instanceof Error) || !("code" in thrown)) return thrown;
  if (thrown.code !== "ENOSPC" && thrown.code !== "EDQUOT") return thrown;
  return new DownloadError(
    "no_space",
    `The disk is full: ${fileName} could not be written. Make room; the same command takes it up again.`,
    thrown,
  );
}
