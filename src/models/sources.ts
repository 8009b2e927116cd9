import { fileURLToPath } from "node:url";
import type { ModelSource } from "./catalogue.ts";

const demoModelsFolder = fileURLToPath(new URL("../../../demo-models", import.meta.url));

/** Where models are looked for: the operator's folder, then the demo models that come along. */
export function modelSources(config: { readonly modelsDir: string; readonly demoModels: boolean }): ModelSource[] {
  const own = { folder: config.modelsDir, isBuiltIn: false };
  return config.demoModels ? [own, { folder: demoModelsFolder, isBuiltIn: true }] : [own];
}
