import { realpath, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { LlamapodError } from "../../protocol/errors.ts";
import { DownloadError } from "./errors.ts";
import { checkGgufFile } from "./gguf-file.ts";
import { layersOf, type Item } from "./items.ts";
import { isThere } from "./local-file.ts";
import { sha256Of, type ModelPlace, type PulledRecord } from "./model-folder.ts";
import type { Pull } from "./pull-request.ts";

/** What a file has to be. */
export interface Expected {
  readonly sizeBytes: number | undefined;
  readonly sha256: string | undefined;
  /** Who says so, as part of a sentence. */
  readonly by: string;
}

/** One of the files of a model, and where it belongs. */
export interface Wanted {
  readonly item: Item;
  readonly place: ModelPlace;
  readonly expected: Expected;
}

/** The catalogue knows best, then the source; then the first pull counts, except of files on this machine, which are the user's own. */
export async function expectedOf({ request }: Pull, item: Item, place: ModelPlace): Promise<Expected> {
  const { sizeBytes, sha256 } = request.definition;
  if (sha256 !== undefined) return { sizeBytes, sha256, by: "the catalogue" };
  if (item.kind !== "remote") return { sizeBytes, sha256: undefined, by: "" };
  if (item.file.sha256 !== undefined) {
    return { sizeBytes: item.file.sizeBytes ?? sizeBytes, sha256: item.file.sha256, by: "the source" };
  }
  const record = await place.record();
  if (record?.source === request.source) return { ...record, by: "the first download" };
  return { sizeBytes, sha256: undefined, by: "" };
}

/** @returns nothing where it has to be fetched. @throws {DownloadError} `bad_target` when another file has the name, `damaged` */
export async function hereAlready(pull: Pull, wanted: Wanted): Promise<PulledRecord | undefined> {
  const { item, place } = wanted;
  const { localFile, existing } = pull.request;
  if (item.kind === "local") {
    if (dirname(await realpath(item.path)) === (await realpath(dirname(place.partialPath)))) {
      throw new DownloadError("bad_target", `${item.path} is what a stopped pull has left. Pull the model that it is of.`);
    }
    if (await isThere(item.path, place.path, localFile)) return inItsPlace(pull, wanted);
  }
  return existing === "keep" ? present(pull, wanted) : undefined;
}

/** What is asked for lies in its place: there is nothing to fetch, and putting it there anew could only lose it. */
async function inItsPlace(pull: Pull, { place, expected }: Wanted): Promise<PulledRecord> {
  const sizeBytes = await checkGgufFile(place.path).catch((thrown: unknown) => {
    throw thrown instanceof LlamapodError ? new DownloadError("damaged", thrown.message, thrown) : thrown;
  });
  const sha256 = await digestOf(place.path, place, pull);
  if (expected.sha256 === undefined || expected.sha256 === sha256) return { source: pull.request.source, sizeBytes, sha256 };
  throw new DownloadError(
    "damaged",
    `${place.path} has the sha256 ${sha256}, and ${expected.by} says ${expected.sha256}. It was left as it is.`,
  );
}

async function present(pull: Pull, { item, place, expected }: Wanted): Promise<PulledRecord | undefined> {
  const { source } = pull.request;
  const found = await stat(place.path).catch(() => undefined);
  if (found === undefined) return undefined;
  const sizeBytes = found.size;
  const original = item.kind === "local" ? await stat(item.path) : undefined;
  const kept = await place.record();
  const isAsPulled = kept?.source === source && kept.sizeBytes === sizeBytes && isDeepStrictEqual(kept.layers, layersOf(item));
  const isOlder = original !== undefined && original.mtimeMs > found.mtimeMs;
  if (isAsPulled && !isOlder && (expected.sha256 === undefined || expected.sha256 === kept.sha256)) return kept;
  if ((expected.sizeBytes ?? original?.size ?? sizeBytes) === sizeBytes) {
    const wanted = expected.sha256 ?? (item.kind === "local" ? await digestOf(item.path, place, pull) : undefined);
    const sha256 = wanted === undefined ? undefined : await digestOf(place.path, place, pull);
    if (sha256 !== undefined && sha256 === wanted) return { source, sizeBytes, sha256 };
  }
  throw new DownloadError(
    "bad_target",
    `${place.path} is there already and is not known to be the same file. Use --force to replace it, or move it away.`,
  );
}

async function digestOf(path: string, { fileName }: ModelPlace, { signal, onProgress }: Pull): Promise<string> {
  const { size: totalBytes } = await stat(path);
  return sha256Of(path, signal, (bytes) => {
    onProgress({ phase: "verifying", file: fileName, bytes, totalBytes });
  });
}
