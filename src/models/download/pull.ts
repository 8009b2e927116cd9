import { stat } from "node:fs/promises";
import { LlamapodError } from "../../protocol/errors.ts";
import { DownloadError } from "./errors.ts";
import { checkGgufFile } from "./gguf-file.ts";
import { expectedOf, hereAlready, type Wanted } from "./here-already.ts";
import { itemsOf, layersOf, named, sizeOf, type Item } from "./items.ts";
import { copyHere, linkHere, localPath } from "./local-file.ts";
import { FileLock } from "./lock.ts";
import { ModelPlace, sha256Of, type PulledRecord } from "./model-folder.ts";
import { extractModel } from "./packed-model.ts";
import type { Pull } from "./pull-request.ts";
import { Retries } from "./retry.ts";
import { allocatedBytes, checkSpace, diskError } from "./space.ts";
import { parseTarget } from "./target.ts";
import { transfer } from "./transfer.ts";

export type { PullPhase, PullProgress, PullRequest } from "./pull-request.ts";

export interface PulledModel {
  /** Of the first part where there are more. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly files: readonly (PulledRecord & { readonly path: string })[];
  /** It was here already, and is what it should be. */
  readonly wasHere: boolean;
}

/**
 * Brings a model into the models folder. Nothing is listed before it is whole, has the right digest, and is a GGUF file. Stopping it
 * keeps what has come, except out of an image; a later pull goes on from there, and one at the same time waits.
 *
 * @throws {DownloadError}
 */
export async function pullModel(pull: Pull): Promise<PulledModel> {
  const { settings, signal, onProgress } = pull;
  onProgress({ phase: "resolving", file: undefined, bytes: 0, totalBytes: undefined });
  const target = parseTarget(pull.request.source);
  const asking = { target, definition: pull.request.definition, settings, signal };
  const items = await new Retries(settings.retryPauseMs).run(() => itemsOf(asking), signal);
  const parts = named(items, pull.request.definition);
  // The first part makes the model appear, so it comes last.
  parts.sort((a, b) => (a.fileName < b.fileName ? 1 : -1));
  const request = {
    ...pull.request,
    // The same words mean another file in another folder.
    source: target.kind === "file" ? localPath(target.path) : pull.request.source,
    // What the catalogue says of a file is said of a model that is one.
    definition: items.length === 1 ? pull.request.definition : {},
  };
  const { files, wasHere } = await pullParts({ ...pull, request }, parts);
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  onProgress({ phase: "done", file: files[0]?.path, bytes: sizeBytes, totalBytes: sizeBytes });
  return { path: files[0]?.path ?? "", sizeBytes, files, wasHere };
}

interface Part extends Wanted {
  readonly here: PulledRecord | undefined;
}

/** All of them are fetched and checked before the first one is published: parts of two versions are no model. */
async function pullParts(
  pull: Pull,
  files: readonly { readonly item: Item; readonly fileName: string }[],
): Promise<Pick<PulledModel, "files" | "wasHere">> {
  const locks: FileLock[] = [];
  try {
    const parts: Part[] = [];
    for (const { item, fileName } of files) {
      const place = await ModelPlace.in(pull.request.folder, fileName);
      locks.push(await lockOf(place, pull));
      const expected = await expectedOf(pull, item, place);
      parts.push({ item, place, expected, here: await hereAlready(pull, { item, place, expected }) });
    }
    await checkSpaceOfAll(pull, parts);
    const fetched = [];
    for (const part of parts) {
      const record = part.here ?? (await fetchItem(pull, part).catch(forFile(part.place)));
      fetched.push({ place: part.place, record, isNew: part.here === undefined });
    }
    for (const { place, record } of fetched.filter(({ isNew }) => isNew)) {
      await place.publish(record).catch(forFile(place));
    }
    const published = fetched.map(({ place, record }) => ({ ...record, path: place.path })).reverse();
    return { files: published, wasHere: fetched.every(({ isNew }) => !isNew) };
  } finally {
    await Promise.all(locks.map((lock) => lock.release()));
  }
}

function lockOf(place: ModelPlace, { signal, onProgress }: Pull): Promise<FileLock> {
  const waiting = () => onProgress({ phase: "waiting", file: place.fileName, bytes: 0, totalBytes: undefined });
  return FileLock.acquire(place.lockPath, signal, waiting).catch(forFile(place));
}

function forFile({ fileName }: ModelPlace): (thrown: unknown) => never {
  return (thrown) => {
    throw diskError(thrown, fileName);
  };
}

/** Each file is looked at again when it comes; but what is known not to fit all together should not come at all. */
async function checkSpaceOfAll({ request }: Pull, parts: readonly Part[]): Promise<void> {
  const missing = parts.filter(({ here }) => here === undefined);
  const [first] = missing;
  if (first === undefined || missing.length === 1) return;
  const needs = await Promise.all(
    missing.map(async ({ item, place, expected }) => {
      // What an earlier pull has left is gone on with, or makes room.
      const size = request.localFile === "link" && item.kind === "local" ? 0 : await sizeOf(item);
      return (expected.sizeBytes ?? size ?? 0) - (await allocatedBytes(place.partialPath));
    }),
  );
  const sum = needs.reduce((total, bytes) => total + bytes, 0);
  await checkSpace(first.place.partialPath, `What is missing of ${parts.at(-1)?.place.fileName ?? ""} and its other parts`, sum);
}

async function fetchItem(pull: Pull, { item, place, expected }: Part): Promise<PulledRecord> {
  const { request, settings, signal, onProgress } = pull;
  const { partialPath: path, fileName } = place;
  const downloading = (bytes: number, totalBytes: number | undefined) =>
    onProgress({ phase: "downloading", file: fileName, bytes, totalBytes });
  let announced: string | undefined;
  if (item.kind === "remote") {
    const file = { ...item.file, fileName, sizeBytes: expected.sizeBytes ?? item.file.sizeBytes };
    announced = (await transfer({ file, path, settings, signal, onProgress: downloading })).sha256;
  } else if (item.kind === "packed") {
    await place.removePartial();
    const model = { ...item.model, fileName };
    const extraction = { model, path, sizeBytes: expected.sizeBytes, settings, signal, onProgress: downloading };
    await extractModel(extraction).catch(async (thrown: unknown) => {
      // Half a layer is of no use to the next pull.
      await place.removePartial();
      throw thrown;
    });
  } else {
    // The record of a download that was stopped would be taken for one of this.
    await place.removePartial();
    if (request.localFile === "link") await linkHere(item.path, path);
    else await copyHere(item.path, path, signal, downloading);
  }
  const { size: sizeBytes } = await stat(path);
  const sha256 = await sha256Of(path, signal, (bytes) =>
    onProgress({ phase: "verifying", file: fileName, bytes, totalBytes: sizeBytes }),
  );
  const wanted = expected.sha256 ?? announced;
  const by = expected.sha256 === undefined ? "the source" : expected.by;
  if (wanted !== undefined && wanted !== sha256) {
    await place.removePartial();
    throw new DownloadError(
      "damaged",
      `${fileName} has the sha256 ${sha256}, and ${by} says ${wanted}. It was not kept. Try again; if it happens again, the file at the source is another one by now, or somebody has changed it.`,
    );
  }
  await checkHeader(place);
  const layers = layersOf(item);
  return { source: request.source, sizeBytes, sha256, ...(layers !== undefined && { layers }) };
}

/** @throws {DownloadError} `damaged` for what is no GGUF file, which is removed */
async function checkHeader(place: ModelPlace): Promise<void> {
  try {
    await checkGgufFile(place.partialPath);
  } catch (thrown) {
    if (!(thrown instanceof LlamapodError)) throw thrown;
    await place.removePartial();
    throw new DownloadError("damaged", `${thrown.message} It was not kept.`, thrown);
  }
}
