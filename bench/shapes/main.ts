import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PublishedName } from "../../test/fixtures/shapes/published.ts";
import { shapeModel } from "../../test/fixtures/shapes/shape-model.ts";
import { tinyModel } from "../../test/fixtures/tiny-models.ts";
import { sayThatItIsMade } from "../model.ts";
import { measureShape, type ShapeRow } from "./measure-shape.ts";
import { renderShapes, renderSwitches } from "./render.ts";
import { starter } from "./server.ts";
import { switchThroughAll } from "./switch-through-all.ts";

/** What the six models cost that llamapod is made for: memory beside its estimate, loading, speed, and switching under a stream. */

export interface ShapeBenchOptions {
  readonly only: readonly PublishedName[];
  readonly gpu?: true;
}

export async function benchShapes({ only, gpu }: ShapeBenchOptions): Promise<void> {
  const device = gpu === true ? "gpu" : "cpu";
  const folder = mkdtempSync(join(tmpdir(), "llamapod-bench-shapes-"));
  try {
    symlinkSync(await tinyModel("llama"), join(folder, `${starter}.gguf`));
    for (const name of only) symlinkSync(await shapeModel(name, "Q4_0", sayThatItIsMade), join(folder, `${name}-shape.gguf`));
    const rows: ShapeRow[] = [];
    for (const name of only) {
      process.stderr.write(`${name}\n`);
      const row = await measureShape(folder, name, device);
      rows.push(row);
      process.stderr.write(`${JSON.stringify(row)}\n`);
    }
    process.stdout.write(`${renderShapes(rows)}\n`);
    const [first] = only;
    if (first === undefined || only.length < 2) return;
    process.stderr.write(`through all of them, under a stream of ${first}\n`);
    process.stdout.write(`\n${renderSwitches(await switchThroughAll(folder, only, device))}\n`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
