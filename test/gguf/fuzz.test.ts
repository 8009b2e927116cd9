import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { readGgufHeader } from "../../src/models/gguf/header.ts";
import { families, tinyModel, type Family } from "../fixtures/tiny-models.ts";
import { Loader } from "./loader-process.ts";

/** Of each family, so many files with a changed header are made; `FUZZ_RUNS` makes it more. */
const wanted = process.env["FUZZ_RUNS"];
const runs = Number(wanted ?? 150);

/** The vocabularies of the others take seconds to load. */
const fuzzed: readonly Family[] = wanted === undefined ? ["gemma2", "gpt2"] : families;

/** Numbers that programs get wrong. */
const extremes = [
  0n,
  1n,
  2n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  1n << 32n,
  1n << 62n,
  (1n << 63n) - 1n,
  1n << 63n,
  (1n << 64n) - 1n,
];

type Edit =
  | { readonly kind: "byte"; readonly at: number; readonly value: number }
  | { readonly kind: "u32"; readonly at: number; readonly value: bigint }
  | { readonly kind: "u64"; readonly at: number; readonly value: bigint };

describe("GGUF headers that were changed", { timeout: 280_000 }, () => {
  let folder: string;
  let loader: Loader;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "llamapod-fuzz-"));
    loader = new Loader();
  });
  after(async () => {
    await loader[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  for (const family of fuzzed) {
    test(`${family}: what the validator accepts, llama.cpp loads or refuses without dying`, async () => {
      const original = await readFile(await tinyModel(family));
      const spots = await numbersIn(family, original);
      const position = fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom(...spots) },
        { weight: 1, arbitrary: fc.nat({ max: 2_048 }) },
      );
      const edit: fc.Arbitrary<Edit> = fc.oneof(
        fc.record({ kind: fc.constant("byte" as const), at: position, value: fc.nat({ max: 255 }) }),
        fc.record({ kind: fc.constant("u32" as const), at: position, value: fc.constantFrom(...extremes) }),
        fc.record({ kind: fc.constant("u64" as const), at: position, value: fc.constantFrom(...extremes) }),
      );
      const outcomes = new Map<string, number>();
      let file = 0;
      const property = fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 2 }), async (edits) => {
        const path = join(folder, `${family}-${file++}.gguf`);
        await writeFile(path, edited(original, edits));
        const accepted = await readGgufHeader(path).then(
          () => true,
          () => false,
        );
        const outcome = accepted ? await loader.load(path) : "invalid";
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        await rm(path);
        assert.notEqual(outcome, "died", "the loader died of a file that was accepted");
      });
      await fc.assert(property, { numRuns: runs, endOnFailure: true, ...(wanted === undefined && { seed: 1 }) });
      assert.ok((outcomes.get("invalid") ?? 0) > 0 && (outcomes.get("loaded") ?? 0) > 0, JSON.stringify([...outcomes]));
    });
  }
});

/** Where the header's numbers stand: after each key that is followed by one. */
async function numbersIn(family: Family, bytes: Buffer): Promise<number[]> {
  const { metadata } = await readGgufHeader(await tinyModel(family));
  return [...metadata]
    .filter(([, value]) => typeof value === "number" || typeof value === "bigint")
    .map(([key]) => bytes.indexOf(key) + key.length + 4);
}

function edited(original: Buffer, edits: readonly Edit[]): Buffer {
  const bytes = Buffer.from(original);
  for (const { kind, at, value } of edits) {
    if (kind === "byte") bytes.writeUInt8(value, at);
    else if (kind === "u32") bytes.writeUInt32LE(Number(value & 0xffffffffn), at);
    else bytes.writeBigUInt64LE(value, at);
  }
  return bytes;
}
