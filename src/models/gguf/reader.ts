export type GgufValue = string | number | bigint | boolean | GgufArray;

export interface GgufArray {
  readonly elementType: number;
  readonly length: number;
}

/** The bytes at hand end before the header does. */
export class EndOfBytes extends Error {}

/** What is wrong with the header, as the end of a sentence. */
export class InvalidHeader extends Error {}

const limits = {
  keyBytes: 256,
  stringBytes: 4 * 1024 * 1024,
  templateBytes: 256 * 1024,
  arrayElements: 4 * 1024 * 1024,
} as const;

const stringType = 8;
const arrayType = 9;

/** Bytes of one value, by type number; strings and arrays have none. */
const fixedBytes: Readonly<Record<number, number>> = { 0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8 };

/** Reads values one after the other, each within its bounds. */
export class Reader {
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
