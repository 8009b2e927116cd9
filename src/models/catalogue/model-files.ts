import { access, readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { LlamapodError, toLlamapodError } from "../../protocol/errors.ts";
import { metadataNumber, modelOf, readGgufFile, type GgufFile, type GgufHeader } from "../gguf/header.ts";
import type { ModelDefinition } from "./definition.ts";
import { partEnding, partName, splitName } from "../gguf/split-name.ts";

/** A folder with GGUF files. */
export interface ModelSource {
  readonly folder: string;
  /** It came with llamapod and is not the operator's own. */
  readonly isBuiltIn: boolean;
  /** What holds for each of its models, unless a definition says otherwise. */
  readonly defaults?: ModelDefinition;
}

/** A model as it lies in a folder: one file, or the parts of a split one. */
export interface ModelFile {
  /** Without its ending and the number of its part, in lower case. */
  readonly stem: string;
  /** Of the first part where there are more. */
  readonly fileName: string;
  readonly paths: readonly string[];
  readonly source: ModelSource;
  /** Changes when a file is replaced or written to. */
  readonly stamp: string;
  readonly changedAtMs: number;
}

/** Every model of a folder, in the order of their names. @throws {Error} when it cannot be read */
export async function modelFiles(source: ModelSource): Promise<ModelFile[]> {
  const names = (await readdir(source.folder)).filter((name) => name.toLowerCase().endsWith(".gguf") && !name.startsWith("."));
  const isLaterPart = (name: string) => (splitName(name)?.number ?? 1) > 1;
  const files = await Promise.all(names.filter((name) => !isLaterPart(name)).map((name) => modelFile(source, name)));
  // Without their endings: otherwise model-b.gguf would come before model.gguf.
  const nameOf = ({ fileName }: ModelFile) => fileName.slice(0, -".gguf".length);
  return files.filter((file) => file !== undefined).sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
}

/** @returns nothing for what is gone by now, or is no file */
async function modelFile(source: ModelSource, fileName: string): Promise<ModelFile | undefined> {
  const names = partsOf(fileName);
  const paths = names.map((name) => join(source.folder, name));
  const stats = await Promise.all(paths.map((path) => stat(path).catch(() => undefined)));
  if (stats[0]?.isDirectory() === true) return undefined;
  const stamp = stats.map((each) => (each === undefined ? "-" : `${each.ino}:${each.size}:${each.mtimeMs}`)).join(" ");
  const changedAtMs = Math.max(0, ...stats.map((each) => each?.mtimeMs ?? 0));
  return { stem: stemOf(fileName), fileName, paths, source, stamp, changedAtMs };
}

export function stemOf(fileName: string): string {
  return (splitName(fileName)?.stem ?? fileName.replace(/\.gguf$/i, "")).toLowerCase();
}

function partsOf(fileName: string): string[] {
  const split = splitName(fileName);
  // More would be a name made to exhaust something.
  if (split === undefined || split.count <= 1 || split.count > 999) return [fileName];
  return Array.from({ length: split.count }, (_, index) => partName({ ...split, number: index + 1 }));
}

/** The header of the first part, with the size and the tensors of all. */
export async function readModelHeader({ fileName, paths }: ModelFile): Promise<GgufHeader | LlamapodError> {
  try {
    const missing = await firstMissing(paths.slice(1));
    if (missing !== undefined) {
      return invalid(
        `${basename(missing)} is missing: ${fileName} is one of ${paths.length} parts, which have to lie side by side.`,
      );
    }
    const files = await Promise.all(paths.map((path) => readGgufFile(path)));
    return partsFault(paths, files) ?? modelOf(fileName, files);
  } catch (thrown) {
    return toLlamapodError(thrown);
  }
}

const invalid = (message: string) => new LlamapodError("model_file_invalid", message);

async function firstMissing(paths: readonly string[]): Promise<string | undefined> {
  const arePresent = await Promise.all(
    paths.map((path) =>
      access(path).then(
        () => true,
        (error: unknown) => !(error instanceof Error && "code" in error && error.code === "ENOENT"),
      ),
    ),
  );
  return paths.find((_, index) => arePresent[index] === false);
}

/** What keeps the files from being the parts of one model, in the order of their names. */
function partsFault(paths: readonly string[], files: readonly GgufFile[]): LlamapodError | undefined {
  for (const [index, file] of files.entries()) {
    const name = basename(paths[index] ?? "");
    const count = metadataNumber(file, "split.count") ?? 1;
    const number = (metadataNumber(file, "split.no") ?? 0) + 1;
    if (files.length === 1 && count > 1) {
      return invalid(
        `${name} is one of ${count} parts, but its name does not say so: give the parts the names that they came with, ending in ${partEnding(1, count)}.`,
      );
    }
    if (count !== files.length || number !== index + 1) {
      return invalid(
        `${name} says of itself that it is part ${number} of ${count}, unlike its name: it is another model's, or has lost its own name.`,
      );
    }
  }
  const [first] = files;
  const announced = first === undefined ? undefined : metadataNumber(first, "split.tensors.count");
  const present = files.reduce((sum, { tensorCount }) => sum + tensorCount, 0);
  if (announced === undefined || announced === present) return undefined;
  return invalid(
    `${basename(paths[0] ?? "")} announces ${announced} tensors, and its parts have ${present}: one of them is another model's.`,
  );
}
