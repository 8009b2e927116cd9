import { createHash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { access, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { DownloadError } from "./errors.ts";
import { cancelled } from "./http.ts";
import { diskError } from "./space.ts";

/** Kept of a file that was pulled, so that it can be recognised and checked later. */
const pulledRecord = z.object({
  source: z.string(),
  sizeBytes: z.int(),
  sha256: z.string(),
  /** Of the image's layers, where the file was in one: what a name in a registry stands for may change. */
  layers: z.array(z.string()).optional(),
});

export type PulledRecord = z.output<typeof pulledRecord>;

/** Beside the models, on the same file system, so that a finished file moves into the folder in one step. */
const workFolder = ".llamapod";

/** Where the files of one model's download lie. */
export class ModelPlace {
  readonly fileName: string;
  readonly path: string;
  readonly partialPath: string;
  readonly lockPath: string;
  readonly #recordPath: string;

  private constructor(folder: string, fileName: string) {
    this.fileName = fileName;
    this.path = join(folder, fileName);
    this.partialPath = join(folder, workFolder, fileName);
    this.lockPath = `${this.partialPath}.lock`;
    this.#recordPath = `${this.partialPath}.pulled`;
  }

  /** @throws {DownloadError} `folder_not_writable`, `no_space` */
  static async in(folder: string, fileName: string): Promise<ModelPlace> {
    const work = join(folder, workFolder);
    try {
      await mkdir(work, { recursive: true });
      await access(work, constants.W_OK);
    } catch (thrown) {
      const cause = diskError(thrown, fileName);
      if (cause instanceof DownloadError) throw cause;
      const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
      throw new DownloadError(
        "folder_not_writable",
        `The models folder ${folder} cannot be written to (${code}). Give this user the right to, or choose another one with --models-dir.`,
        cause,
      );
    }
    return new ModelPlace(folder, fileName);
  }

  async record(): Promise<PulledRecord | undefined> {
    try {
      return pulledRecord.parse(JSON.parse(await readFile(this.#recordPath, "utf8")));
    } catch {
      // None: the file was put here by hand.
      return undefined;
    }
  }

  /** Moves the finished file to where it is listed. */
  async publish(record: PulledRecord): Promise<void> {
    await writeFile(this.#recordPath, `${JSON.stringify(record)}\n`);
    await rename(this.partialPath, this.path);
    await this.removePartial();
  }

  async removePartial(): Promise<void> {
    await Promise.all([rm(this.partialPath, { force: true }), rm(`${this.partialPath}.json`, { force: true })]);
  }

  async remove(): Promise<void> {
    await rm(this.path, { force: true });
    await rm(this.#recordPath, { force: true });
    await this.removePartial();
  }
}

/** @throws {DownloadError} `cancelled` */
export async function sha256Of(path: string, signal: AbortSignal, onProgress: (bytes: number) => void): Promise<string> {
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024, signal }) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.length;
      onProgress(bytes);
    }
  } catch (thrown) {
    throw signal.aborted ? cancelled() : thrown;
  }
  return hash.digest("hex");
}
