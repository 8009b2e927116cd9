/** `npm start`: the server, with a model made on the spot where the models folder holds none. */
import { copyFile, mkdir, readdir } from "node:fs/promises";

const folder = "models";
const model = `${folder}/random-weights.gguf`;

const choosesModels =
  process.env.LLAMAPOD_MODELS_DIR !== undefined || process.argv.some((argument) => argument.startsWith("--models-dir"));
if (!choosesModels) {
  await mkdir(folder, { recursive: true });
  const names = await readdir(folder);
  if (!names.some((name) => name.toLowerCase().endsWith(".gguf"))) {
    process.stderr.write(
      `There is no GGUF file in ${folder}/, so a tiny model with random weights is made: ${model}. It shows that everything\n` +
        "works and talks nonsense. Put a real model into the folder, and take this one out, for answers that make sense.\n",
    );
    const { tinyModel } = await import("../dist/test/fixtures/tiny-models.js");
    await copyFile(await tinyModel("llama"), model);
  }
}

process.argv.splice(2, 0, "serve");
await import("../dist/src/main.js");
