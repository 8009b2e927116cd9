import { fileURLToPath } from "node:url";
import type { ModelSource } from "./catalogue.ts";

const demoModelsFolder = fileURLToPath(new URL("../../../demo-models", import.meta.url));

/** They know one answer to a question, and the likeliest token leads to it. */
const demoModels: ModelSource = { folder: demoModelsFolder, isBuiltIn: true, defaults: { sampling: { temperature: 0 } } };

/** Where models are looked for: the operator's folder, then the demo models that come along. */
export function modelSources(config: { readonly modelsDir: string; readonly demoModels: boolean }): ModelSource[] {
  const own = { folder: config.modelsDir, isBuiltIn: false };
  return config.demoModels ? [own, demoModels] : [own];
}
