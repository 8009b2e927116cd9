/** `npm start`: the server, with a model made on the spot where there is none in the models folder. */
import { copyFile, mkdir, readdir } from "node:fs/promises";

const demoFolder = "models";
const model = `${demoFolder}/random-weights.gguf`;

process.argv.splice(2, 0, "serve");
const choosesModels = process.argv.some((argument) => /^--(models-dir|config|help)\b/.test(argument));
if (!choosesModels) {
  const { loadConfig } = await import("../dist/src/config.js");
  const { modelsDir } = loadConfig(undefined, process.env, { allowUnauthenticated: true });
  if (!(await hasModel(modelsDir))) {
    if (!(await hasModel(demoFolder))) {
      process.stderr.write(
        `There is no GGUF file in ${modelsDir}, so a tiny model with random weights is made: ${model}. It shows that everything\n` +
          "works and talks nonsense. For a real one run: npx llamapod pull qwen2.5-0.5b\n",
      );
      await mkdir(demoFolder, { recursive: true });
      const { tinyModel } = await import("../dist/test/fixtures/tiny-models.js");
      await copyFile(await tinyModel("llama"), model);
    }
    process.argv.push("--models-dir", demoFolder);
  }
}

await import("../dist/src/main.js");

async function hasModel(folder) {
  const names = await readdir(folder).catch(() => []);
  return names.some((name) => name.toLowerCase().endsWith(".gguf"));
}
