import { open } from "node:fs/promises";
import { basename } from "node:path";
import { LlamapodError } from "../../protocol/errors.ts";
import { hyperparameterFault, type TensorShapes } from "./hyperparameters.ts";
import { EndOfBytes, InvalidHeader, Reader, type GgufValue } from "./reader.ts";
import { tensorType } from "./tensor-types.ts";
import { vocabularyFault } from "./vocabulary.ts";

/**
 * Reads and checks the header of a GGUF file, which is untrusted input, before any native code sees it.
 *
 * Every count and size is bounded and every tensor must lie inside the file. Format: the GGUF specification of ggml,
 * versions 2 and 3, little-endian.
 */
export interface GgufHeader {
  readonly architecture: string;
  readonly fileBytes: number;
  /** Scalars and strings by key; of arrays only the shape is kept. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensorCount: number;
}

/** A file as it is, which may be a part of a model and have nothing but some of its tensors. */
export interface GgufFile extends Omit<GgufHeader, "architecture"> {
  readonly shapes: TensorShapes;
}

const limits = {
  headerBytes: 64 * 1024 * 1024,
  keys: 4_096,
  tensors: 65_536,
  alignment: 4_096,
} as const;

const firstReadBytes = 1024 * 1024;

/**
 * The header of a model that is one file.
 *
 * @throws {LlamapodError} as `readGgufFile` does
 */
export async function readGgufHeader(path: string): Promise<GgufHeader> {
  return modelOf(basename(path), [await readGgufFile(path)]);
}

/**
 * The header of a model, which all of its files make together: that of the first one, with the tensors and the size of all.
 *
 * @throws {LlamapodError} `model_file_invalid`, naming the first file
 */
export function modelOf(name: string, files: readonly GgufFile[]): GgufHeader {
  try {
    return joined(files);
  } catch (thrown) {
    throw unusable(name, reasonOf(thrown), thrown);
  }
}

/**
 * One file, whether it is a model or a part of one.
 *
 * @throws {LlamapodError} `model_file_invalid`, naming the file and what is wrong with it; `model_load_failed` if it cannot be opened
 */
export async function readGgufFile(path: string): Promise<GgufFile> {
  await using file = await open(path, "r").catch((cause: unknown) => {
    throw new LlamapodError("model_load_failed", `${basename(path)} cannot be opened: ${codeOf(cause)}.`, { cause });
  });
  const { size } = await file.stat();
  // The header's length is not known in advance: read a prefix, and a longer one when it was too short.
  for (let length = firstReadBytes; ; length *= 4) {
    const prefix = Buffer.alloc(Math.min(length, size, limits.headerBytes));
    const { bytesRead } = await file.read(prefix, 0, prefix.length, 0);
    try {
      return parseFile(prefix.subarray(0, bytesRead), size);
    } catch (thrown) {
      const canReadMore = prefix.length < Math.min(size, limits.headerBytes);
      if (thrown instanceof EndOfBytes && canReadMore) continue;
      throw unusable(basename(path), thrown instanceof EndOfBytes ? endReason(size) : reasonOf(thrown), thrown);
    }
  }
}

function unusable(name: string, reason: string, cause: unknown): LlamapodError {
  return new LlamapodError("model_file_invalid", `${name} is not a usable GGUF file: ${reason}.`, { cause });
}

function endReason(fileBytes: number): string {
  return fileBytes > limits.headerBytes
    ? `its header is longer than ${limits.headerBytes} bytes`
    : `it ends inside its header, at byte ${fileBytes}; the download may be incomplete`;
}

/** Of the operating system, such as EACCES; its message would tell clients where the file lies. */
function codeOf(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : reasonOf(thrown);
}

function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/**
 * @param bytes the file's beginning
 * @param fileBytes the whole file's size, against which tensors are checked
 * @throws {EndOfBytes | InvalidHeader}
 */
export function parseGgufHeader(bytes: Buffer, fileBytes: number): GgufHeader {
  return joined([parseFile(bytes, fileBytes)]);
}

function parseFile(bytes: Buffer, fileBytes: number): GgufFile {
  const reader = new Reader(bytes);
  if (reader.bytes(4).toString("latin1") !== "GGUF") throw new InvalidHeader("it does not begin with the letters GGUF");
  const version = reader.u32();
  if (version !== 2 && version !== 3) throw new InvalidHeader(`its version is ${version}, and only 2 and 3 can be read`);
  const tensorCount = reader.count("tensors", limits.tensors);
  const keyCount = reader.count("metadata keys", limits.keys);

  const metadata = new Map<string, GgufValue>();
  for (let index = 0; index < keyCount; index++) {
    const key = reader.name("a metadata key");
    if (metadata.has(key)) throw new InvalidHeader(`its metadata key ${key} appears twice`);
    metadata.set(key, reader.value(key, reader.u32()));
  }
  const shapes = readTensors(reader, metadata, tensorCount, fileBytes);
  return { fileBytes, metadata, tensorCount, shapes };
}

/** @throws {InvalidHeader} where the files do not make a model */
function joined(files: readonly GgufFile[]): GgufHeader {
  const [first] = files;
  if (first === undefined) throw new TypeError("a model has a file");
  const shapes = new Map<string, readonly bigint[]>();
  for (const file of files) {
    for (const [name, dimensions] of file.shapes) {
      if (shapes.has(name)) throw new InvalidHeader(`its tensor ${name} is in two of its parts`);
      shapes.set(name, dimensions);
    }
  }
  const { metadata } = first;
  const architecture = metadata.get("general.architecture");
  if (typeof architecture !== "string") throw new InvalidHeader("it does not name its architecture (general.architecture)");
  const fault = vocabularyFault(architecture, metadata) ?? hyperparameterFault(architecture, metadata, shapes);
  if (fault !== undefined) throw new InvalidHeader(fault);
  const fileBytes = files.reduce((sum, file) => sum + file.fileBytes, 0);
  return { architecture, fileBytes, metadata, tensorCount: shapes.size };
}

function readTensors(reader: Reader, metadata: GgufHeader["metadata"], count: number, fileBytes: number): TensorShapes {
  const alignment = metadata.get("general.alignment") ?? 32;
  const isPowerOfTwo = typeof alignment === "number" && alignment > 0 && (alignment & (alignment - 1)) === 0;
  if (!isPowerOfTwo || alignment > limits.alignment) throw new InvalidHeader("its general.alignment is not a sane power of two");

  const shapes = new Map<string, readonly bigint[]>();
  let dataEnd = 0;
  for (let index = 0; index < count; index++) {
    const name = reader.name("a tensor name");
    if (shapes.has(name)) throw new InvalidHeader(`its tensor ${name} appears twice`);
    const { dimensions, size } = readTensor(name, reader);
    shapes.set(name, dimensions);
    const offset = reader.u64();
    if (offset % BigInt(alignment) !== 0n) throw new InvalidHeader(`its tensor ${name} is not aligned to ${alignment} bytes`);
    const end = offset + size;
    if (end > BigInt(fileBytes)) throw outsideFile(name);
    dataEnd = Math.max(dataEnd, Number(end));
  }
  const dataStart = Math.ceil(reader.position / alignment) * alignment;
  if (count > 0 && dataStart + dataEnd > fileBytes) {
    throw new InvalidHeader(
      `its tensors need ${dataStart + dataEnd} bytes and it has ${fileBytes}; the download may be incomplete`,
    );
  }
  return shapes;
}

function readTensor(name: string, reader: Reader): { readonly dimensions: readonly bigint[]; readonly size: bigint } {
  const dimensionCount = reader.u32();
  if (dimensionCount < 1 || dimensionCount > 4) throw new InvalidHeader(`its tensor ${name} has ${dimensionCount} dimensions`);
  const dimensions = Array.from({ length: dimensionCount }, () => reader.u64());
  const typeId = reader.u32();
  const type = tensorType(typeId);
  if (type === undefined) throw new InvalidHeader(`its tensor ${name} has the unknown type ${typeId}`);
  const rowWeights = dimensions[0] ?? 0n;
  if (dimensions.some((dimension) => dimension < 1n)) throw new InvalidHeader(`its tensor ${name} has an empty dimension`);
  if (rowWeights % BigInt(type.blockWeights) !== 0n) {
    throw new InvalidHeader(`the rows of its tensor ${name} are not whole ${type.name} blocks of ${type.blockWeights}`);
  }
  const weights = dimensions.reduce((product, dimension) => product * dimension, 1n);
  if (weights >= 1n << 63n) throw new InvalidHeader(`the dimensions of its tensor ${name} overflow`);
  return { dimensions, size: (weights / BigInt(type.blockWeights)) * BigInt(type.blockBytes) };
}

function outsideFile(name: string): InvalidHeader {
  return new InvalidHeader(`its tensor ${name} lies outside the file; the download may be incomplete`);
}

/** A string of the metadata, or undefined when the key is absent or holds something else. */
export function metadataString(header: GgufHeader, key: string): string | undefined {
  const value = header.metadata.get(key);
  return typeof value === "string" ? value : undefined;
}

/** A whole number of the metadata, or undefined. */
export function metadataNumber(header: Pick<GgufHeader, "metadata">, key: string): number | undefined {
  const value = header.metadata.get(key);
  return typeof value === "bigint" ? Number(value) : typeof value === "number" ? value : undefined;
}

/** 0 where there is no such array. */
export function arrayLength(header: GgufHeader, key: string): number {
  const value = header.metadata.get(key);
  return typeof value === "object" ? value.length : 0;
}

/** How many tokens the file's tokenizer knows. */
export function vocabularySize(header: GgufHeader): number {
  return arrayLength(header, "tokenizer.ggml.tokens");
}
