import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { type Quantization } from "../test/fixtures/shapes/shape-file.ts";
import { shapeModel } from "../test/fixtures/shapes/shape-model.ts";

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
  const path = await shapeModel("qwen2.5-0.5b", quantization, sayThatItIsMade);
  return { path, note: `the shape of Qwen2.5-0.5B in ${quantization}, random weights` };
}

export function sayThatItIsMade(path: string): void {
  process.stderr.write(`Writing ${path}, once.\n`);
}
