import { getLlama, LlamaLogLevel } from "node-llama-cpp";

/** A process that loads the files it is told with the real loader, one after the other, and says what came of each. */

const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.disabled });

process.on("message", (path: string) => {
  load(path).then(
    () => process.send?.("loaded"),
    () => process.send?.("refused"),
  );
});
process.send?.("ready");

async function load(path: string): Promise<void> {
  const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
  try {
    const context = await model.createContext({ contextSize: 256, sequences: 1 });
    await context.dispose();
  } finally {
    await model.dispose();
  }
}
