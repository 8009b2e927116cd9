import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findModel } from "../model.ts";

/** A models folder with the same file under two names. */
export interface TwoModels extends Disposable {
  readonly names: readonly [string, string];
  readonly firstPath: string;
}

export async function twoModels(given: string | undefined): Promise<TwoModels> {
  const names = ["model-a", "model-b"] as const;
  const { path } = await findModel(given, "Q4_0");
  const folder = mkdtempSync(join(tmpdir(), "llamapod-bench-models-"));
  for (const name of names) symlinkSync(path, join(folder, `${name}.gguf`));
  return {
    names,
    firstPath: join(folder, `${names[0]}.gguf`),
    [Symbol.dispose]: () => {
      rmSync(folder, { recursive: true });
    },
  };
}
