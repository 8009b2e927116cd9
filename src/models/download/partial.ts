import { readFile, rename, writeFile } from "node:fs/promises";
import { z } from "zod";

const range = z.object({
  /** The first byte that is still missing. */
  next: z.int().min(0),
  /** Behind the last one. */
  end: z.int().min(0),
});

const record = z.object({
  url: z.string(),
  etag: z.string().nullable(),
  sizeBytes: z.int().min(0),
  ranges: z.array(range),
});

export type ByteRange = z.output<typeof range>;
export type Progress = z.output<typeof record>;

/** What is written between two saves is fetched again after a kill. */
const saveEveryMs = 250;

/** Which bytes of a file that is being downloaded are there, kept beside it so that a later run can go on. */
export class PartialRecord {
  readonly progress: Progress;
  readonly #path: string;
  #savedAt = 0;
  #saving: Promise<void> = Promise.resolve();

  private constructor(path: string, progress: Progress) {
    this.#path = path;
    this.progress = progress;
  }

  /** The one that was kept, if it is of the same file at the source; else a new one. */
  static async open(path: string, fresh: Omit<Progress, "ranges">, rangeBytes: number): Promise<PartialRecord> {
    const kept = await readKept(path);
    const isSame =
      kept?.url === fresh.url && kept.etag === fresh.etag && kept.etag !== null && kept.sizeBytes === fresh.sizeBytes;
    if (isSame) return new PartialRecord(path, kept);
    return new PartialRecord(path, { ...fresh, ranges: split(fresh.sizeBytes, rangeBytes) });
  }

  get missingBytes(): number {
    return this.progress.ranges.reduce((sum, { next, end }) => sum + end - next, 0);
  }

  get receivedBytes(): number {
    return this.progress.sizeBytes - this.missingBytes;
  }

  /** Nothing that was received counts. */
  startAgain(): void {
    this.progress.ranges = split(this.progress.sizeBytes, this.progress.sizeBytes);
  }

  /** Call when bytes are in the file, never before. */
  async received(range: ByteRange, bytes: number): Promise<void> {
    range.next += bytes;
    if (performance.now() - this.#savedAt >= saveEveryMs) await this.save();
  }

  save(): Promise<void> {
    this.#savedAt = performance.now();
    const text = JSON.stringify({ ...this.progress, ranges: this.progress.ranges.filter(({ next, end }) => next < end) });
    const saving = this.#saving.then(async () => {
      await writeFile(`${this.#path}.new`, text);
      await rename(`${this.#path}.new`, this.#path);
    });
    // One after another, or an older state could win. One that has failed says nothing of the next.
    this.#saving = saving.catch(() => undefined);
    return saving;
  }
}

async function readKept(path: string): Promise<Progress | undefined> {
  try {
    return record.parse(JSON.parse(await readFile(path, "utf8")));
  } catch {
    // None, or one that a kill has cut: the download begins anew.
    return undefined;
  }
}

/** A source may claim any size. */
const mostRanges = 4_096;

function split(sizeBytes: number, wantedBytes: number): ByteRange[] {
  const rangeBytes = Math.max(1, wantedBytes, Math.ceil(sizeBytes / mostRanges));
  const count = Math.max(1, Math.ceil(sizeBytes / rangeBytes));
  return Array.from({ length: count }, (_, index) => ({
    next: index * rangeBytes,
    end: Math.min(sizeBytes, (index + 1) * rangeBytes),
  }));
}
