import { basename } from "node:path";
import { metadataNumber, modelOf, readGgufFile } from "../gguf/header.ts";

/**
 * Sees that a file is a model or a part of one.
 *
 * @returns its size in bytes
 * @throws {LlamapodError} `model_file_invalid`, `model_load_failed`
 */
export async function checkGgufFile(path: string): Promise<number> {
  const file = await readGgufFile(path);
  // A part is none by itself. Whether they make one shows when all are there.
  if ((metadataNumber(file, "split.count") ?? 1) === 1) modelOf(basename(path), [file]);
  return file.fileBytes;
}
