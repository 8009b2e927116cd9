import { constants } from "node:fs";
import { open, rm, type FileHandle } from "node:fs/promises";

/**
 * Opens a file that arrives. A stopped pull may have left a link there, to a file of the user's own: it is removed, never
 * followed.
 */
export async function createPartial(path: string): Promise<FileHandle> {
  await rm(path, { force: true });
  return open(path, "wx");
}

/** Opens what an earlier pull has left. @returns undefined where there is nothing, or a link */
export function reopenPartial(path: string): Promise<FileHandle | undefined> {
  return open(path, constants.O_RDWR | constants.O_NOFOLLOW).catch(() => undefined);
}

/** One write may take less than it is given: the last one before the disk is full does. */
export async function writeAt(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    written += (await file.write(bytes, written, bytes.length - written, position + written)).bytesWritten;
  }
}
