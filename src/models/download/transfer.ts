import { rm, type FileHandle } from "node:fs/promises";
import { DownloadError, TransientError } from "./errors.ts";
import { ask, cancelled, type Answer } from "./http.ts";
import { PartialRecord, type ByteRange } from "./partial.ts";
import { createPartial, reopenPartial, writeAt } from "./partial-file.ts";
import { checkAnswer, type RemoteFile } from "./remote-file.ts";
import { Retries } from "./retry.ts";
import type { DownloadSettings } from "./settings.ts";
import { checkSpace } from "./space.ts";

/** What the source says of a file. */
interface Offer {
  readonly url: string;
  readonly etag: string | null;
  /** Unknown where the source does not say before the end. */
  readonly sizeBytes: number | undefined;
  readonly sha256: string | undefined;
  readonly takesRanges: boolean;
}

export interface Transfer {
  readonly file: RemoteFile;
  /** Where the bytes go; the record of what is there is kept beside it. */
  readonly path: string;
  readonly settings: DownloadSettings;
  readonly signal: AbortSignal;
  readonly onProgress: (receivedBytes: number, totalBytes: number | undefined) => void;
}

/**
 * Brings a file here, whole, going on where an earlier run was stopped. The record of what is there stays: until the file has been
 * checked and published, a later run may have to find it whole.
 *
 * @returns the digest that the source announces, if it does
 * @throws {DownloadError}, and what a disk throws
 */
export async function transfer(job: Transfer): Promise<{ readonly sha256: string | undefined }> {
  const retries = new Retries(job.settings.retryPauseMs);
  const offer = await retries.run(() => probe(job), job.signal);
  const { sizeBytes } = job.file;
  if (sizeBytes !== undefined && offer.sizeBytes !== undefined && sizeBytes !== offer.sizeBytes) {
    throw new DownloadError(
      "damaged",
      `${job.file.fileName} should have ${sizeBytes} bytes, and the source has one of ${offer.sizeBytes}. It is another file by now, or the address is wrong.`,
    );
  }
  if (offer.takesRanges && offer.sizeBytes !== undefined) await inRanges(job, offer, offer.sizeBytes);
  else await retries.run(() => inOnePiece(job, offer), job.signal);
  return { sha256: offer.sha256 };
}

async function probe({ file, signal }: Transfer): Promise<Offer> {
  const target = await file.target(signal);
  const answer = await ask("GET", { ...target, headers: { ...target.headers, Range: "bytes=0-0" } }, signal);
  answer.body.destroy();
  checkAnswer(file, answer);
  const linked = String(answer.first["x-linked-etag"] ?? "").replace(/^(W\/)?"|"$/g, "");
  const total = answer.status === 206 ? rangeOf(answer)?.total : Number(answer.headers["content-length"] ?? NaN);
  return {
    url: target.url.href,
    etag: answer.headers.etag ?? answer.headers["last-modified"] ?? null,
    sizeBytes: total === undefined || Number.isNaN(total) ? undefined : total,
    sha256: /^[0-9a-f]{64}$/.test(linked) ? linked : undefined,
    takesRanges: answer.status === 206,
  };
}

async function inRanges(job: Transfer, offer: Offer, sizeBytes: number): Promise<void> {
  const { path, settings } = job;
  const record = await PartialRecord.open(`${path}.json`, { url: offer.url, etag: offer.etag, sizeBytes }, settings.rangeBytes);
  const file = await openPartial(path, record);
  // One that fails for good stops the others.
  const failed = new AbortController();
  const signal = AbortSignal.any([job.signal, failed.signal]);
  try {
    await checkSpace(path, job.file.fileName, record.missingBytes);
    await record.save();
    job.onProgress(record.receivedBytes, sizeBytes);
    const waiting = record.progress.ranges.filter(({ next, end }) => next < end);
    const worker = async () => {
      const retries = new Retries(settings.retryPauseMs);
      for (let range = waiting.shift(); range !== undefined; range = waiting.shift()) {
        const current = range;
        await retries.run(() => fetchRange({ ...job, signal }, { offer, record, file, range: current, retries }), signal);
      }
    };
    const workers = Array.from({ length: settings.connections }, () =>
      worker().catch((thrown: unknown) => {
        failed.abort();
        throw thrown;
      }),
    );
    const outcomes = await Promise.allSettled(workers);
    const reasons: unknown[] = outcomes.flatMap((outcome): unknown[] => (outcome.status === "rejected" ? [outcome.reason] : []));
    // The first one to fail is the cause; the others were only stopped.
    const isCause = (reason: unknown) => !(reason instanceof DownloadError && reason.failure === "cancelled");
    if (reasons.length > 0) throw reasons.find(isCause) ?? reasons[0];
    await file.sync();
  } finally {
    // A disk that is full has no room for it either: the one that is there counts, and a little is fetched again.
    await record.save().catch(() => undefined);
    await file.close();
  }
}

async function openPartial(path: string, record: PartialRecord): Promise<FileHandle> {
  if (record.receivedBytes > 0) {
    const kept = await reopenPartial(path);
    if (kept !== undefined) return kept;
    record.startAgain();
  }
  return createPartial(path);
}

interface RangeJob {
  readonly offer: Offer;
  readonly record: PartialRecord;
  readonly file: FileHandle;
  readonly range: ByteRange;
  readonly retries: Retries;
}

async function fetchRange(job: Transfer, { offer, record, file, range, retries }: RangeJob): Promise<void> {
  if (range.next >= range.end) return;
  const target = await job.file.target(job.signal);
  const headers: Record<string, string> = { ...target.headers, Range: `bytes=${range.next}-${range.end - 1}` };
  if (offer.etag?.startsWith('"') === true) headers["If-Range"] = offer.etag;
  const answer = await ask("GET", { ...target, headers }, job.signal);
  const given = rangeOf(answer);
  if (answer.status === 200 || answer.status === 416 || (answer.status === 206 && given?.total !== offer.sizeBytes)) {
    answer.body.destroy();
    await rm(`${job.path}.json`, { force: true });
    record.startAgain();
    throw new DownloadError("damaged", `${job.file.fileName} has changed at its source during the download. Start it again.`);
  }
  checkAnswer(job.file, answer);
  if (given?.start !== range.next) {
    answer.body.destroy();
    throw new TransientError(`${answer.url.host} sent other bytes than were asked for`);
  }
  await receive(answer, job.signal, async (chunk) => {
    if (range.next + chunk.length > range.end) {
      throw new DownloadError("damaged", `${answer.url.host} sends more bytes than were asked for.`);
    }
    await writeAt(file, chunk, range.next);
    await record.received(range, chunk.length);
    retries.progressed();
    job.onProgress(record.receivedBytes, offer.sizeBytes);
  });
  if (range.next < range.end) throw new TransientError(`${answer.url.host} broke off`);
}

/** For sources that do not give parts of a file: nothing can be kept, and nothing goes on. */
async function inOnePiece(job: Transfer, offer: Offer): Promise<void> {
  const { file, path, signal } = job;
  await checkSpace(path, file.fileName, offer.sizeBytes ?? 0);
  const answer = await ask("GET", await file.target(signal), signal);
  checkAnswer(file, answer);
  await rm(`${path}.json`, { force: true });
  await using handle = await createPartial(path);
  let received = 0;
  job.onProgress(0, offer.sizeBytes);
  await receive(answer, signal, async (chunk) => {
    await handle.writeFile(chunk);
    received += chunk.length;
    job.onProgress(received, offer.sizeBytes);
  });
  await handle.sync();
  if (offer.sizeBytes !== undefined && received !== offer.sizeBytes) {
    throw new TransientError(`${answer.url.host} sent ${received} bytes of ${offer.sizeBytes}`);
  }
}

async function receive(answer: Answer, signal: AbortSignal, take: (chunk: Buffer) => Promise<void>): Promise<void> {
  const chunks = answer.body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  for (;;) {
    let next: IteratorResult<Buffer>;
    try {
      next = await chunks.next();
    } catch (cause) {
      if (signal.aborted) throw cancelled();
      throw new TransientError(`${answer.url.host} broke off`, { cause });
    }
    if (next.done === true) return;
    try {
      await take(next.value);
    } catch (thrown) {
      answer.body.destroy();
      throw thrown;
    }
  }
}

function rangeOf({ headers }: Answer): { start: number; total: number } | undefined {
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers["content-range"] ?? "") ?? [];
  return start === undefined ? undefined : { start: Number(start), total: Number(total) };
}
