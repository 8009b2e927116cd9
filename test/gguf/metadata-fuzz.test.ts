import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { readGgufHeader } from "../../src/models/gguf/header.ts";
import { f32s, i32s, text, texts, u32, type GgufMetadata, type GgufValue } from "../fixtures/gguf-header.ts";
import { writeGguf } from "../fixtures/gguf-writer.ts";
import { families, tinyModelFile, type Family } from "../fixtures/tiny-models.ts";
import { Loader } from "./loader-process.ts";

/** Of each family, so many files; `FUZZ_RUNS` makes it more. */
const wanted = process.env["FUZZ_RUNS"];
const runs = Number(wanted ?? 60);

/** The vocabularies of the others take seconds to load. */
const fuzzed: readonly Family[] = wanted === undefined ? ["gemma2", "gpt2"] : families;

/** Words that mean something to llama.cpp somewhere, and one that does not. */
const words = [
  "",
  "llama",
  "gpt2",
  "bert",
  "rwkv",
  "t5",
  "none",
  "no_vocab",
  "plamo2",
  "default",
  "qwen2",
  "yarn",
  "longrope",
  "bogus",
];

const otherValues: readonly GgufValue[] = [
  u32(0),
  u32(0xffff_ffff),
  texts([]),
  texts(["a"]),
  texts(["a", "b"]),
  f32s([]),
  f32s([Number.NaN]),
  i32s([]),
  i32s([-1]),
  ...words.map(text),
];

/** Keys that llama.cpp looks for and these files do not have. */
const absentKeys = (family: Family): string[] => [
  `${family}.rope.scaling.type`,
  `${family}.expert_count`,
  `${family}.expert_used_count`,
  `${family}.attention.causal`,
  `${family}.pooling_type`,
  `${family}.attention.sliding_window`,
  "tokenizer.ggml.pre",
  "tokenizer.ggml.add_space_prefix",
  "tokenizer.ggml.eot_token_id",
  "tokenizer.ggml.precompiled_charsmap",
];

interface Change {
  readonly key: string;
  readonly how: "remove" | "halve" | "empty" | { readonly to: GgufValue };
}

describe("GGUF metadata that was changed", { timeout: 280_000 }, () => {
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
    test(`${family}: keys without, with other, and with shorter values: accepted means loaded or refused`, async () => {
      const { metadata, tensors } = await tinyModelFile(family);
      const change: fc.Arbitrary<Change> = fc.record({
        key: fc.constantFrom(...Object.keys(metadata), ...absentKeys(family)),
        how: fc.oneof(
          fc.constantFrom("remove" as const, "halve" as const, "empty" as const),
          fc.record({ to: fc.constantFrom(...otherValues) }),
        ),
      });
      let file = 0;
      const property = fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 2 }), async (changes) => {
        const path = join(folder, `${family}-${file++}.gguf`);
        await writeGguf(path, { metadata: changes.reduce(changed, metadata), tensors });
        const accepted = await readGgufHeader(path).then(
          () => true,
          () => false,
        );
        const outcome = accepted ? await loader.load(path) : "invalid";
        await rm(path);
        assert.notEqual(outcome, "died", "the loader died of a file that was accepted");
      });
      await fc.assert(property, { numRuns: runs, endOnFailure: true, ...(wanted === undefined && { seed: 1 }) });
    });
  }
});

function changed(metadata: GgufMetadata, { key, how }: Change): GgufMetadata {
  if (typeof how === "object") return { ...metadata, [key]: how.to };
  const { [key]: value, ...others } = metadata;
  if (how === "remove" || value?.type !== "array") return others;
  const length = how === "empty" ? 0 : Math.floor(value.value.length / 2);
  // The elements stay what they were.
  return { ...others, [key]: { ...value, value: value.value.slice(0, length) } as GgufValue };
}
