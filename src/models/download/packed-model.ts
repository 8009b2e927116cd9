import { createHash } from "node:crypto";
import { open, type FileHandle } from "node:fs/promises";
import { posix } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { DownloadError, TransientError } from "./errors.ts";
import { ask, cancelled, type Answer } from "./http.ts";
import { createPartial } from "./partial-file.ts";
import { checkAnswer, type RemoteFile } from "./remote-file.ts";
import { Retries } from "./retry.ts";
import type { DownloadSettings } from "./settings.ts";
import { checkSpace } from "./space.ts";
import { readTar, TarError, type ArchiveEntry } from "./tar.ts";

/** A layer of an image: a tar archive. */
export interface PackedLayer {
  readonly file: RemoteFile & { readonly sizeBytes: number; readonly sha256: string };
  readonly compression: "none" | "gzip";
}

/** A model that is a file among others in an image. Its name there is not known before the layers have come. */
export interface PackedModel {
  /** For people. */
  readonly name: string;
  readonly fileName: string;
  /** The topmost first, whose files hide those of the others. */
  readonly layers: readonly PackedLayer[];
}

export interface Extraction {
  readonly model: PackedModel;
  /** Where the file goes. Nothing else is written. */
  readonly path: string;
  /** What it must be, where that is known. */
  readonly sizeBytes: number | undefined;
  readonly settings: DownloadSettings;
  readonly signal: AbortSignal;
  readonly onProgress: (receivedBytes: number, totalBytes: number) => void;
}

interface Found {
  readonly path: string;
  readonly sizeBytes: number;
}

/** An image may have any number of names in it; no more than this many are kept, none of which is longer than a path can be. */
const mostNames = 10_000;
const longestPath = 4_096;

/** What the layers have shown so far, topmost first. */
interface Seen {
  readonly files: readonly Found[];
  /** Paths that, with all below them, are gone in what the image shows. */
  readonly hidden: ReadonlySet<string>;
}

/**
 * Finds the one GGUF file of an image, and writes it. A layer that breaks off is read anew, from its beginning.
 *
 * @throws {DownloadError}, and what a disk throws
 */
export async function extractModel(job: Extraction): Promise<void> {
  const { model, settings, signal } = job;
  const retries = new Retries(settings.retryPauseMs);
  let seen: Seen = { files: [], hidden: new Set() };
  let doneBytes = 0;
  for (const layer of model.layers) {
    const before = seen;
    const startBytes = doneBytes;
    seen = await retries.run(() => readLayer(job, layer, before, startBytes), signal);
    retries.progressed();
    doneBytes += layer.file.sizeBytes;
  }
  const { files } = seen;
  if (files.length === 0)
    throw new DownloadError("not_found", `${model.name} holds no GGUF file: there is none in any of its layers.`);
  if (files.length > 1) {
    const listed = files.slice(0, 20).map(({ path, sizeBytes }) => `${JSON.stringify(path)} (${sizeBytes} bytes)`);
    throw new DownloadError(
      "bad_target",
      `${model.name} holds ${files.length} GGUF files in its layers, and which one is meant is not known: ${listed.join(", ")}. Copy what is wanted out of it with podman create and podman cp, and pull that: llamapod pull ./FILE.gguf`,
    );
  }
  // Not before everything has come: a disk that takes its time would have the registry hang up.
  await using file = await open(job.path, "r+");
  await file.sync();
}

async function readLayer(job: Extraction, layer: PackedLayer, before: Seen, startBytes: number): Promise<Seen> {
  const { model, signal } = job;
  const files: Found[] = [];
  const hiding: string[] = [];

  const visit = async (entry: ArchiveEntry): Promise<void> => {
    if (entry.path.length > longestPath) return;
    const path = posix.join("/", entry.path);
    // A link or an emptied file takes the place of the one below, too.
    const hides = whiteoutOf(path) ?? (!entry.isFolder && path.endsWith(".gguf") ? path : undefined);
    if (hides !== undefined) hiding.push(hides);
    if (entry.isFile && !isHidden(path, before.hidden)) {
      const isFirst = before.files.length + files.length === 0;
      if (await takeGguf(job, entry, isFirst)) files.push({ path, sizeBytes: entry.sizeBytes });
    }
    if (hiding.length + files.length + before.hidden.size > mostNames)
      throw new TarError("there are too many names in it for an image of a model");
  };

  const answer = await ask("GET", await layer.file.target(signal), signal);
  checkAnswer(layer.file, answer);
  const total = model.layers.reduce((sum, { file }) => sum + file.sizeBytes, 0);
  const received = { isVerified: false };
  const source = async function* () {
    yield* verified(job, layer, answer, (bytes) => job.onProgress(startBytes + bytes, total));
    received.isVerified = true;
  };
  const reading = (unpacked: AsyncIterable<Buffer>) => readTar(unpacked, visit);
  try {
    await (layer.compression === "gzip" ? pipeline(source, createGunzip(), reading) : pipeline(source, reading));
    // Unpacking ends where what is compressed ends, and leaves the rest unread.
    if (!received.isVerified) throw new TarError("something stands behind its end");
  } catch (thrown) {
    throw signal.aborted ? cancelled() : layerError(thrown, job, layer);
  } finally {
    answer.body.destroy();
  }
  return {
    files: [...before.files, ...files],
    hidden: new Set([...before.hidden, ...hiding, ...files.map(({ path }) => path)]),
  };
}

/** Hands the bytes of a layer on, and fails at the end if they were not those that its digest stands for. */
async function* verified(
  { signal, model }: Extraction,
  { file }: PackedLayer,
  answer: Answer,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > file.sizeBytes) break;
      hash.update(chunk);
      onBytes(bytes);
      yield chunk;
    }
  } catch (cause) {
    throw signal.aborted ? cancelled() : new TransientError(`${answer.url.host} broke off`, { cause });
  }
  if (bytes < file.sizeBytes) throw new TransientError(`${answer.url.host} sent ${bytes} bytes of ${file.sizeBytes}`);
  if (bytes === file.sizeBytes && hash.digest("hex") === file.sha256) return;
  throw new DownloadError(
    "damaged",
    `A layer of ${model.name} is not what its digest says (sha256:${file.sha256}). Nothing of it was kept. Try again; if it happens again, the registry has damaged it, or somebody has changed it.`,
  );
}

/** @returns whether it is a GGUF file */
async function takeGguf(job: Extraction, entry: ArchiveEntry, isFirst: boolean): Promise<boolean> {
  let file: FileHandle | undefined;
  let isGguf = false;
  try {
    for await (const chunk of entry.content) {
      isGguf ||= chunk.subarray(0, 4).equals(Buffer.from("GGUF"));
      // Of several none is kept; but all are counted.
      if (!isGguf || !isFirst) return isGguf;
      file ??= await createFor(job, entry);
      await file.writeFile(chunk);
    }
    return isGguf;
  } finally {
    await file?.close();
  }
}

async function createFor({ model, path, sizeBytes }: Extraction, entry: ArchiveEntry): Promise<FileHandle> {
  if (sizeBytes !== undefined && sizeBytes !== entry.sizeBytes) {
    throw new DownloadError(
      "damaged",
      `The GGUF file in ${model.name} should have ${sizeBytes} bytes, and has ${entry.sizeBytes}. It is another file by now, or the address is wrong.`,
    );
  }
  await checkSpace(path, model.fileName, entry.sizeBytes);
  return createPartial(path);
}

/** @returns the path that a layer removes from those below it; for an opaque folder, that folder */
function whiteoutOf(path: string): string | undefined {
  const name = posix.basename(path);
  if (!name.startsWith(".wh.")) return undefined;
  const folder = posix.dirname(path);
  return name === ".wh..wh..opq" ? folder : posix.join(folder, name.slice(".wh.".length));
}

function isHidden(path: string, hidden: ReadonlySet<string>): boolean {
  if (hidden.has(path)) return true;
  return path !== "/" && isHidden(posix.dirname(path), hidden);
}

function layerError(thrown: unknown, { model }: Extraction, { file, compression }: PackedLayer): unknown {
  if (thrown instanceof DownloadError || thrown instanceof TransientError) return thrown;
  const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
  // The pipeline is aborted when much stands behind the end of what is compressed.
  const isUnpacking = code.startsWith("Z_") || code === "ABORT_ERR";
  if (!(thrown instanceof TarError) && !isUnpacking) return thrown;
  const what = compression === "gzip" ? "compressed tar archive" : "tar archive";
  return new DownloadError(
    "damaged",
    `A layer of ${model.name} (sha256:${file.sha256}) cannot be read as a ${what}: ${thrown instanceof Error ? thrown.message : code}. It was pushed like that: build and push the image anew.`,
    thrown,
  );
}
