import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import { tinyModel } from "../../test/fixtures/tiny-models.ts";
import { repository } from "../paths.ts";

/** The most slots that a model may have. */
const slotsOfModel = 64;

/** The whole server as it is shipped, in a copy whose runners are synthetic. Several models share the streams between them. */
export class SyntheticServer implements AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  readonly models: readonly string[];
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(url: string, models: readonly string[], child: ChildProcess, folder: string) {
    this.url = url;
    this.models = models;
    this.#child = child;
    this.pid = child.pid ?? 0;
    this.#folder = folder;
  }

  static async start(streams: number, tokensPerSecond: number): Promise<SyntheticServer> {
    const folder = mkdtempSync(join(tmpdir(), "llamapod-synthetic-"));
    cpSync(join(repository, "dist", "src"), join(folder, "dist", "src"), { recursive: true });
    cpSync(join(repository, "package.json"), join(folder, "package.json"));
    symlinkSync(join(repository, "node_modules"), join(folder, "node_modules"));
    const runner = pathToFileURL(join(repository, "dist", "bench", "streams", "synthetic-runner.js"));
    writeFileSync(join(folder, "dist", "src", "models", "runner", "main.js"), `import "${runner.href}";\n`);

    const models = Array.from({ length: Math.max(1, Math.ceil(streams / slotsOfModel)) }, (_, index) => `synthetic-${index}`);
    const modelFile = await tinyModel("gpt2");
    for (const model of models) symlinkSync(modelFile, join(folder, `${model}.gguf`));
    const flags = [
      "--port",
      "0",
      "--gpu",
      "off",
      "--models-dir",
      folder,
      "--slots",
      String(slotsOfModel),
      "--max-connections",
      "20000",
    ];
    const own = [
      "--max-connections-per-client",
      "20000",
      "--max-queue",
      "1024",
      "--max-queue-per-client",
      "1024",
      "--idle-seconds",
      "100000",
      "--log-level",
      "info",
    ];
    const child = spawn(process.execPath, [join(folder, "dist", "src", "main.js"), "serve", ...flags, ...own], {
      // The runner sees of the environment only what its backend may need.
      env: { ...process.env, GGML_SYNTHETIC_RATE: String(tokensPerSecond) },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const url = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout }).on("line", (line) => {
        const entry = JSON.parse(line) as { url?: string };
        if (entry.url !== undefined) resolve(entry.url);
      });
      child.on("exit", () => {
        reject(new Error("the server ended before it listened"));
      });
    });
    return new SyntheticServer(url, models, child, folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
