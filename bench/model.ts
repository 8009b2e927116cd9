import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { cached } from "../test/fixtures/cache.ts";
import { writeQwen25_05b } from "../test/fixtures/shape.ts";

export const quantizations = ["Q4_0", "Q8_0"] as const;
export type Quantization = (typeof quantizations)[number];

export interface BenchModel {
  readonly path: string;
  /** What a reader must know about the model; empty if its name says all. */
  readonly note: string;
}

/** The given file, or one with random weights in the shape of Qwen 2.5 0.5B: it writes nonsense at the real model's speed. */
export async function findModel(given: string | undefined, quantization: Quantization): Promise<BenchModel> {
  if (given !== undefined) {
    const path = resolve(given);
    if (!existsSync(path)) throw new Error(`There is no model file ${path}.`);
    return { path, note: "" };
  }
  // In a folder of its own: it becomes a server's models folder.
  const path = await cached(join("bench", "models", `qwen2.5-0.5b-shape-${quantization.toLowerCase()}.gguf`), async (target) => {
    process.stderr.write(`Writing ${target}, once.\n`);
    await mkdir(dirname(target), { recursive: true });
    await writeQwen25_05b(target, quantization);
  });
  return { path, note: `the shape of Qwen2.5-0.5B in ${quantization}, random weights` };
}
