import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { LlamapodError } from "../../protocol/errors.ts";
import type { ModelDefinition } from "../catalogue/definition.ts";
import { fileNameOf } from "../catalogue/definitions.ts";
import { readGgufHeader } from "../gguf/header.ts";
import { DownloadError } from "./errors.ts";
import { huggingFaceFiles } from "./hugging-face.ts";
import { copyHere, isThere, linkHere, localFiles } from "./local-file.ts";
import { FileLock } from "./lock.ts";
import { ModelPlace, sha256Of, type PulledRecord } from "./model-folder.ts";
import { ociContent } from "./oci.ts";
import { extractModel, type PackedModel } from "./packed-model.ts";
import { safeFileName, type RemoteFile } from "./remote-file.ts";
import { Retries } from "./retry.ts";
import type { DownloadSettings } from "./settings.ts";
import { diskError } from "./space.ts";
import { parseTarget, type PullTarget } from "./target.ts";
import { transfer } from "./transfer.ts";

export type PullPhase = "resolving" | "waiting" | "downloading" | "verifying" | "done";

export interface PullProgress {
  readonly phase: PullPhase;
  readonly file: string | undefined;
  readonly bytes: number;
  readonly totalBytes: number | undefined;
}

export interface PullRequest {
  /** The catalogue's word on what is pulled, or nothing more than where it is. */
  readonly source: string;
  readonly definition: ModelDefinition;
  readonly folder: string;
  /** How a local file gets here. */
  readonly localFile: "copy" | "link";
  /** `again` fetches even what is here. */
  readonly existing: "keep" | "again";
}

export interface PulledModel {
  /** Of the first part where there are more. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly files: readonly (PulledRecord & { readonly path: string })[];
  /** It was here already, and is what it should be. */
  readonly wasHere: boolean;
}

interface Pull {
  readonly request: PullRequest;
  readonly settings: DownloadSettings;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: PullProgress) => void;
}

/** What is to be brought here: from the network, out of an image there, or from a path. */
type Item =
  | { readonly kind: "remote"; readonly file: RemoteFile }
  | { readonly kind: "packed"; readonly model: PackedModel }
  | { readonly kind: "local"; readonly path: string };

/**
 * Brings a model into the models folder. Nothing is listed before it is whole, has the right digest, and is a GGUF file. Stopping it
 * keeps what has come, except out of an image; a later pull goes on from there, and one at the same time waits.
 *
 * @throws {DownloadError}
 */
export async function pullModel(pull: Pull): Promise<PulledModel> {
  const { request, onProgress } = pull;
  onProgress({ phase: "resolving", file: undefined, bytes: 0, totalBytes: undefined });
  const target = parseTarget(request.source);
  const items = await new Retries(pull.settings.retryPauseMs).run(() => itemsOf(target, pull), pull.signal);
  const named = items.map((item) => ({ item, fileName: fileNameFor(item, items.length, request) }));
  // The first part makes the model appear, so it comes last.
  named.sort((a, b) => (a.fileName < b.fileName ? 1 : -1));
  const results = [];
  // What the catalogue says of a file is said of a model that is one.
  const definition = items.length === 1 ? request.definition : {};
  for (const { item, fileName } of named) {
    const pulling = pullOne({ ...pull, request: { ...request, definition } }, item, fileName);
    results.push(
      await pulling.catch((thrown: unknown) => {
        throw diskError(thrown, fileName);
      }),
    );
  }
  const files = results.map(({ file }) => file).reverse();
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  onProgress({ phase: "done", file: files[0]?.path, bytes: sizeBytes, totalBytes: sizeBytes });
  return { path: files[0]?.path ?? "", sizeBytes, files, wasHere: results.every(({ wasHere }) => wasHere) };
}

async function itemsOf(target: PullTarget, { request, settings, signal }: Pull): Promise<Item[]> {
  const remote = (files: readonly RemoteFile[]) => files.map((file): Item => ({ kind: "remote", file }));
  switch (target.kind) {
    case "hugging-face":
      return remote(await huggingFaceFiles(target, settings, signal));
    case "oci": {
      const content = await ociContent(target, signal);
      return content.kind === "files" ? remote(content.files) : [content];
    }
    case "web":
      return remote([webFile(target.url, fileNameOf(request.definition))]);
    case "file":
      return (await localFiles(target.path)).map((path) => ({ kind: "local", path }));
  }
}

/** @param given the name that the definition gives it */
function webFile(url: URL, given: string | undefined): RemoteFile {
  const authorization =
    url.username === ""
      ? undefined
      : `Basic ${Buffer.from(`${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`).toString("base64")}`;
  const bare = new URL(url);
  bare.username = "";
  bare.password = "";
  const fileName = safeFileName(decodeURIComponent(url.pathname)) ?? given;
  if (fileName === undefined) {
    throw new DownloadError(
      "bad_target",
      `${bare.href} does not end in the name of a GGUF file. Give it one in models.yaml: file, beside source.`,
    );
  }
  return {
    target: () => Promise.resolve({ url: bare, authorization }),
    fileName,
    sizeBytes: undefined,
    sha256: undefined,
    denied: (status) =>
      `${url.host} refuses access to ${fileName} (status ${status}). A name and a password can stand in the address: https://name:password@${url.host}/...`,
  };
}

const numbered = /(?:-\d{5}-of-\d{5})?\.gguf$/i;

/** A definition names the file. The parts of a split model keep their numbers, by which they find each other. */
function fileNameFor(item: Item, count: number, { definition }: PullRequest): string {
  const own = ownNameOf(item);
  const given = fileNameOf(definition);
  const number = numbered.exec(own)?.[0] ?? "";
  const asPart = number.length > ".gguf".length ? given?.replace(numbered, number) : undefined;
  const name = (count === 1 ? given : asPart) ?? own;
  const safe = safeFileName(name);
  if (safe === undefined) throw new DownloadError("bad_target", `${JSON.stringify(name)} cannot be the name of a file here.`);
  return safe;
}

function ownNameOf(item: Item): string {
  switch (item.kind) {
    case "remote":
      return item.file.fileName;
    case "packed":
      return item.model.fileName;
    case "local":
      return basename(item.path);
  }
}

async function pullOne(pull: Pull, item: Item, fileName: string) {
  const { request, signal, onProgress } = pull;
  const place = await ModelPlace.in(request.folder, fileName);
  const lock = await FileLock.acquire(place.lockPath, signal, () => {
    onProgress({ phase: "waiting", file: fileName, bytes: 0, totalBytes: undefined });
  });
  try {
    const expected = await expectedOf(pull, item, place);
    if (item.kind === "local" && (await isThere(item.path, place.path, request.localFile))) {
      return { file: { ...(await recordOf(place, expected, pull)), path: place.path }, wasHere: true };
    }
    if (request.existing === "keep") {
      const here = await present(place, expected, item, pull);
      if (here !== undefined) return { file: { ...here, path: place.path }, wasHere: true };
    }
    const record = await fetchItem(pull, item, place, expected);
    await place.publish(record);
    return { file: { ...record, path: place.path }, wasHere: false };
  } finally {
    await lock.release();
  }
}

interface Expected {
  readonly sizeBytes: number | undefined;
  readonly sha256: string | undefined;
  /** Who says so, as part of a sentence. */
  readonly by: string;
}

/** The catalogue knows best, then the source; then the first pull counts. */
async function expectedOf({ request }: Pull, item: Item, place: ModelPlace): Promise<Expected> {
  const { sizeBytes, sha256 } = request.definition;
  if (sha256 !== undefined) return { sizeBytes, sha256, by: "the catalogue" };
  if (item.kind === "remote" && item.file.sha256 !== undefined) {
    return { sizeBytes: item.file.sizeBytes ?? sizeBytes, sha256: item.file.sha256, by: "the source" };
  }
  const record = await place.record();
  // The layers' digests say it of what is in them.
  if (record?.source === request.source && item.kind !== "packed") return { ...record, by: "the first download" };
  return { sizeBytes, sha256: undefined, by: "" };
}

function layersOf(item: Item): string[] | undefined {
  return item.kind === "packed" ? item.model.layers.map(({ file }) => file.sha256) : undefined;
}

/** @throws {DownloadError} `bad_target` when another file has the name */
async function present(
  place: ModelPlace,
  expected: Expected,
  item: Item,
  { request, signal, onProgress }: Pull,
): Promise<PulledRecord | undefined> {
  const found = await stat(place.path).catch(() => undefined);
  if (found === undefined) return undefined;
  const sizeBytes = found.size;
  const kept = await place.record();
  const isAsPulled =
    kept?.source === request.source && kept.sizeBytes === sizeBytes && isDeepStrictEqual(kept.layers, layersOf(item));
  if (isAsPulled && (expected.sha256 === undefined || expected.sha256 === kept.sha256)) return kept;
  const couldBe = expected.sizeBytes === undefined || expected.sizeBytes === sizeBytes;
  if (couldBe && expected.sha256 !== undefined) {
    const sha256 = await sha256Of(place.path, signal, (bytes) =>
      onProgress({ phase: "verifying", file: place.fileName, bytes, totalBytes: sizeBytes }),
    );
    if (sha256 === expected.sha256) return { source: request.source, sizeBytes, sha256 };
  }
  throw new DownloadError(
    "bad_target",
    `${place.path} is there already and is not known to be the same file. Use --force to replace it, or move it away.`,
  );
}

/** What is asked for lies in its place: there is nothing to fetch, and putting it there anew could only lose it. */
async function recordOf(
  { path, fileName }: ModelPlace,
  expected: Expected,
  { request, signal, onProgress }: Pull,
): Promise<PulledRecord> {
  const { fileBytes: sizeBytes } = await readGgufHeader(path).catch((thrown: unknown) => {
    throw thrown instanceof LlamapodError ? new DownloadError("damaged", thrown.message, thrown) : thrown;
  });
  const sha256 = await sha256Of(path, signal, (bytes) =>
    onProgress({ phase: "verifying", file: fileName, bytes, totalBytes: sizeBytes }),
  );
  if (expected.sha256 === undefined || expected.sha256 === sha256) return { source: request.source, sizeBytes, sha256 };
  throw new DownloadError(
    "damaged",
    `${path} has the sha256 ${sha256}, and ${expected.by} says ${expected.sha256}. It was left as it is.`,
  );
}

async function fetchItem(pull: Pull, item: Item, place: ModelPlace, expected: Expected): Promise<PulledRecord> {
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
    if (await isThere(item.path, path, "copy")) {
      throw new DownloadError("bad_target", `${item.path} is what a stopped pull has left. Pull the model that it is of.`);
    }
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
    await readGgufHeader(place.partialPath);
  } catch (thrown) {
    if (!(thrown instanceof LlamapodError)) throw thrown;
    await place.removePartial();
    throw new DownloadError("damaged", `${thrown.message} It was not kept.`, thrown);
  }
}
