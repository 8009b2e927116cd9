import { open } from "node:fs/promises";
import { basename } from "node:path";
import { LlamapodError } from "../../protocol/errors.ts";
import { hyperparameterFault, type TensorShapes } from "./hyperparameters.ts";
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

export type GgufValue = string | number | bigint | boolean | GgufArray;

export interface GgufArray {
  readonly elementType: number;
  readonly length: number;
}

const limits = {
  headerBytes: 64 * 1024 * 1024,
  keys: 4_096,
  tensors: 65_536,
  keyBytes: 256,
  stringBytes: 4 * 1024 * 1024,
  templateBytes: 256 * 1024,
  arrayElements: 4 * 1024 * 1024,
  alignment: 4_096,
} as const;

const firstReadBytes = 1024 * 1024;

/** @throws {LlamapodError} `model_file_invalid`, naming the file and what is wrong with it; `model_load_failed` if it cannot be opened */
export async function readGgufHeader(path: string): Promise<GgufHeader> {
  await using file = await open(path, "r").catch((cause: unknown) => {
    throw new LlamapodError("model_load_failed", `${basename(path)} cannot be opened: ${codeOf(cause)}.`, { cause });
  });
  const { size } = await file.stat();
  // The header's length is not known in advance: read a prefix, and a longer one when it was too short.
  for (let length = firstReadBytes; ; length *= 4) {
    const prefix = Buffer.alloc(Math.min(length, size, limits.headerBytes));
    const { bytesRead } = await file.read(prefix, 0, prefix.length, 0);
    try {
      return parseGgufHeader(prefix.subarray(0, bytesRead), size);
    } catch (thrown) {
      const canReadMore = prefix.length < Math.min(size, limits.headerBytes);
      if (thrown instanceof EndOfBytes && canReadMore) continue;
      const reason = thrown instanceof EndOfBytes ? endReason(size) : reasonOf(thrown);
      throw new LlamapodError("model_file_invalid", `${basename(path)} is not a usable GGUF file: ${reason}.`, { cause: thrown });
    }
  }
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

/** The bytes at hand end before the header does. */
export class EndOfBytes extends Error {}

/** What is wrong with the header, as the end of a sentence. */
export class InvalidHeader extends Error {}

/**
 * @param bytes the file's beginning
 * @param fileBytes the whole file's size, against which tensors are checked
 * @throws {EndOfBytes | InvalidHeader}
 */
export function parseGgufHeader(bytes: Buffer, fileBytes: number): GgufHeader {
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

  const architecture = metadata.get("general.architecture");
  if (typeof architecture !== "string") throw new InvalidHeader("it does not name its architecture (general.architecture)");
  const fault = vocabularyFault(architecture, metadata) ?? hyperparameterFault(architecture, metadata, shapes);
  if (fault !== undefined) throw new InvalidHeader(fault);
  return { architecture, fileBytes, metadata, tensorCount };
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

const stringType = 8;
const arrayType = 9;

/** Bytes of one value, by type number; strings and arrays have none. */
const fixedBytes: Readonly<Record<number, number>> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };

class Reader {
  position = 0;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  bytes(length: number): Buffer {
    const start = this.position;
    if (start + length > this.#bytes.length) throw new EndOfBytes();
    this.position += length;
    return this.#bytes.subarray(start, this.position);
  }

  u32(): number {
    return this.bytes(4).readUInt32LE();
  }

  u64(): bigint {
    return this.bytes(8).readBigUInt64LE();
  }

  count(what: string, limit: number): number {
    const value = this.u64();
    if (value > BigInt(limit)) throw new InvalidHeader(`it claims ${value} ${what}, more than the ${limit} that are allowed`);
    return Number(value);
  }

  string(limit: number, what: string): string {
    return this.bytes(this.count(`bytes in ${what}`, limit)).toString("utf8");
  }

  /** ASCII, as the specification has it. */
  name(what: string): string {
    const name = this.string(limits.keyBytes, what);
    if (!/^[\x20-\x7e]+$/.test(name)) throw new InvalidHeader(`${what} is not plain text`);
    return name;
  }

  value(key: string, type: number): GgufValue {
    if (type === arrayType) return this.#array(key);
    if (type === stringType) {
      return this.string(key.startsWith("tokenizer.chat_template") ? limits.templateBytes : limits.stringBytes, key);
    }
    const size = fixedBytes[type];
    if (size === undefined) throw new InvalidHeader(`its metadata key ${key} has the unknown type ${type}`);
    return readScalar(this.bytes(size), type);
  }

  #array(key: string): GgufArray {
    const elementType = this.u32();
    const length = this.count(`elements in ${key}`, limits.arrayElements);
    const size = fixedBytes[elementType];
    if (size !== undefined) {
      this.bytes(length * size);
    } else if (elementType === stringType) {
      this.#strings(key, length);
    } else {
      throw new InvalidHeader(`its metadata array ${key} has elements of the unusable type ${elementType}`);
    }
    return { elementType, length };
  }

  /** llama.cpp aborts over a vocabulary in which a token appears twice. */
  #strings(key: string, length: number): void {
    const tokens = key === "tokenizer.ggml.tokens" ? new Set<string>() : undefined;
    for (let index = 0; index < length; index++) {
      const bytes = this.bytes(this.count(`bytes in ${key}[${index}]`, limits.stringBytes));
      if (tokens === undefined || bytes.length === 0) continue;
      const token = bytes.toString("latin1");
      // To llama.cpp it would end there.
      if (token.includes("\0")) throw new InvalidHeader(`its token number ${index} holds a NUL`);
      if (tokens.has(token))
        throw new InvalidHeader(`its vocabulary has the same token twice, the second time as number ${index}`);
      tokens.add(token);
    }
  }
}

function readScalar(bytes: Buffer, type: number): GgufValue {
  switch (type) {
    case 0:
      return bytes.readUInt8();
    case 1:
      return bytes.readInt8();
    case 2:
      return bytes.readUInt16LE();
    case 3:
      return bytes.readInt16LE();
    case 4:
      return bytes.readUInt32LE();
    case 5:
      return bytes.readInt32LE();
    case 6:
      return bytes.readFloatLE();
    case 7:
      return bytes.readUInt8() !== 0;
    case 10:
      return bytes.readBigUInt64LE();
    case 11:
      return bytes.readBigInt64LE();
    default:
      return bytes.readDoubleLE();
  }
}

/** A string of the metadata, or undefined when the key is absent or holds something else. */
export function metadataString(header: GgufHeader, key: string): string | undefined {
  const value = header.metadata.get(key);
  return typeof value === "string" ? value : undefined;
}

/** A whole number of the metadata, or undefined. */
export function metadataNumber(header: GgufHeader, key: string): number | undefined {
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
