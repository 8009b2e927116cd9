import { stat } from "node:fs/promises";
import { basename } from "node:path";
import type { ModelDefinition } from "../catalogue/definition.ts";
import { fileNameOf } from "../catalogue/definitions.ts";
import { DownloadError } from "./errors.ts";
import { huggingFaceFiles } from "./hugging-face.ts";
import { localFiles } from "./local-file.ts";
import { ociContent } from "./oci.ts";
import type { PackedModel } from "./packed-model.ts";
import { safeFileName, type RemoteFile } from "./remote-file.ts";
import type { DownloadSettings } from "./settings.ts";
import type { PullTarget } from "./target.ts";
import { modelNameOf, partName, splitName } from "../gguf/split-name.ts";

/** What is to be brought here: from the network, out of an image there, or from a path. */
export type Item =
  | { readonly kind: "remote"; readonly file: RemoteFile }
  | { readonly kind: "packed"; readonly model: PackedModel }
  | { readonly kind: "local"; readonly path: string };

export interface Asking {
  readonly target: PullTarget;
  readonly definition: ModelDefinition;
  readonly settings: DownloadSettings;
  readonly signal: AbortSignal;
}

/** @throws {TransientError}; {DownloadError}, also where parts of a split model are missing */
export async function itemsOf({ target, definition, settings, signal }: Asking): Promise<Item[]> {
  const remote = (files: readonly RemoteFile[]) => files.map((file): Item => ({ kind: "remote", file }));
  switch (target.kind) {
    case "hugging-face":
      return whole(remote(await huggingFaceFiles(target, settings, signal)));
    case "oci": {
      const content = await ociContent(target, signal);
      return content.kind === "files" ? whole(remote(content.files)) : [content];
    }
    case "web":
      // Each part of a split model has an address of its own.
      return remote([webFile(target.url, fileNameOf(definition))]);
    case "file":
      return whole((await localFiles(target.path)).map((path) => ({ kind: "local", path })));
  }
}

/** @throws {DownloadError} `not_found` when not all parts of a split model are there */
function whole(items: Item[]): Item[] {
  const names = new Set(items.map((item) => ownNameOf(item).toLowerCase()));
  const models = new Map([...names].map((name) => [modelNameOf(name), splitName(name)]));
  for (const split of [...models.values()].filter((each) => each !== undefined)) {
    const { stem, count } = split;
    const parts = Array.from({ length: count }, (_, index) => partName({ ...split, number: index + 1 }));
    const missing = parts.filter((name) => !names.has(name));
    if (missing.length === 0) continue;
    const shown = missing.slice(0, 3).join(", ");
    throw new DownloadError(
      "not_found",
      `The source has ${count - missing.length} of the ${count} parts of ${stem}, which is of use only whole. Missing: ${shown}${missing.length > 3 ? ", ..." : ""}`,
    );
  }
  return items;
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

/** More would be made to exhaust something; the catalogue knows no more parts of a model. */
const mostFiles = 999;

/** The items with the names that they get here. @throws {DownloadError} `bad_target` */
export function named(items: readonly Item[], definition: ModelDefinition): { readonly item: Item; readonly fileName: string }[] {
  if (items.length > mostFiles)
    throw new DownloadError("bad_target", `The source has ${items.length} files. A model has ${mostFiles} at most.`);
  const all = items.map((item) => ({ item, fileName: fileNameFor(item, items.length, definition) }));
  const names = new Set<string>();
  for (const { fileName } of all) {
    if (names.has(fileName)) throw new DownloadError("bad_target", `The source has two files of the name ${fileName}.`);
    names.add(fileName);
  }
  return all;
}

/** A definition names the file. The parts of a split model keep their numbers, by which they find each other. */
function fileNameFor(item: Item, count: number, definition: ModelDefinition): string {
  const own = ownNameOf(item);
  const given = fileNameOf(definition);
  const split = splitName(own);
  const stem = given === undefined ? undefined : (splitName(given)?.stem ?? given.replace(/\.gguf$/i, ""));
  const asPart = split === undefined || stem === undefined ? undefined : partName({ ...split, stem });
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

/** What a name in a registry stands for may change: the layers' digests tell. */
export function layersOf(item: Item): string[] | undefined {
  return item.kind === "packed" ? item.model.layers.map(({ file }) => file.sha256) : undefined;
}

/** @returns nothing where the source does not say beforehand */
export async function sizeOf(item: Item): Promise<number | undefined> {
  if (item.kind === "local") return (await stat(item.path)).size;
  return item.kind === "remote" ? item.file.sizeBytes : undefined;
}
