import { createReadStream } from "node:fs";
import { lstat, readdir, stat, symlink } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { DownloadError } from "./errors.ts";
import { cancelled } from "./http.ts";
import { createPartial } from "./partial-file.ts";
import { checkSpace } from "./space.ts";
import { modelNameOf, splitName } from "../gguf/split-name.ts";

export function localPath(path: string): string {
  return resolve(path.startsWith("~/") ? join(homedir(), path.slice(2)) : path);
}

/** The file of a path, or all parts of a split model. @throws {DownloadError} `not_found`, `bad_target` */
export async function localFiles(path: string): Promise<string[]> {
  const absolute = localPath(path);
  const found = await stat(absolute).catch((cause: unknown) => {
    throw new DownloadError("not_found", `There is no file ${absolute}.`, cause);
  });
  if (!found.isFile() || !/\.gguf$/i.test(absolute)) throw new DownloadError("bad_target", `${absolute} is not a GGUF file.`);
  if (splitName(absolute) === undefined) return [absolute];
  const [folder, model] = [dirname(absolute), modelNameOf(basename(absolute))];
  return (await readdir(folder)).filter((name) => modelNameOf(name) === model).map((name) => join(folder, name));
}

/**
 * Whether the file that is to get to a path is what lies there, whatever the names and links that lead to it. A link to it is not
 * the copy that may be wanted.
 */
export async function isThere(source: string, path: string, localFile: "copy" | "link"): Promise<boolean> {
  const [wanted, found] = await Promise.all([
    stat(source, { bigint: true }),
    (localFile === "link" ? stat : lstat)(path, { bigint: true }).catch(() => undefined),
  ]);
  return wanted.dev === found?.dev && wanted.ino === found.ino;
}

export async function copyHere(
  source: string,
  path: string,
  signal: AbortSignal,
  onProgress: (bytes: number, total: number) => void,
): Promise<void> {
  const { size } = await stat(source);
  await checkSpace(path, basename(source), size);
  await using file = await createPartial(path);
  let copied = 0;
  try {
    for await (const chunk of createReadStream(source, { highWaterMark: 1024 * 1024, signal }) as AsyncIterable<Buffer>) {
      await file.writeFile(chunk);
      copied += chunk.length;
      onProgress(copied, size);
    }
    await file.sync();
  } catch (thrown) {
    throw signal.aborted ? cancelled() : thrown;
  }
}

export async function linkHere(source: string, path: string): Promise<void> {
  await symlink(source, path);
}
