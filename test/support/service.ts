import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino, type Logger } from "pino";
import { loadConfig } from "../../src/config.ts";
import { newKey } from "../../src/server/auth/keys.ts";
import { Service } from "../../src/service.ts";
import { tinyModel, type Family } from "../fixtures/tiny-models.ts";

export interface RunningService extends AsyncDisposable {
  readonly url: string;
  readonly modelsDir: string;
}

/** What a server with keys is asked with. */
export interface TestKeys {
  readonly file: string;
  readonly secrets: Readonly<Record<string, string>>;
}

/** A file of keys, by name with their scopes. */
export async function keysFile(keys: Readonly<Record<string, string>>): Promise<TestKeys> {
  const made = Object.entries(keys).map(([name, scopes]) => [name, newKey(name, scopes)] as const);
  const file = join(await mkdtemp(join(tmpdir(), "llamapod-keys-")), "keys");
  await writeFile(file, `# name sha256 scopes\n${made.map(([, { line }]) => line).join("\n")}\n`);
  return { file, secrets: Object.fromEntries(made.map(([name, { secret }]) => [name, secret])) };
}

/** A backend whose lines no test wants to see. */
export const cpuOnly = { gpu: "off", threads: 1, logLevel: "fatal" } as const;

export const silent: Logger = pino({ level: "silent" });

/** A folder with models, each under the name it is asked for by. */
export async function modelsFolder(models: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "llamapod-models-"));
  await Promise.all(Object.entries(models).map(([name, path]) => symlink(path, join(folder, `${name}.gguf`))));
  return folder;
}

/** A real server on a free port, with tiny models of the given families; ready to answer. */
export async function startService(
  families: readonly Family[] = ["llama"],
  flags: Readonly<Record<string, unknown>> = {},
  log: Logger = silent,
  hasGpu?: () => boolean,
): Promise<RunningService> {
  const paths = await Promise.all(families.map(async (family) => [family, await tinyModel(family)] as const));
  return serveFolder(await modelsFolder(Object.fromEntries(paths)), { model: families[0], ...flags }, log, hasGpu);
}

/** A real server on a free port, over a folder that is removed with it. */
export async function serveFolder(
  modelsDir: string,
  flags: Readonly<Record<string, unknown>>,
  log: Logger = silent,
  hasGpu?: () => boolean,
): Promise<RunningService> {
  const config = loadConfig(
    undefined,
    {},
    {
      port: 0,
      gpu: "off",
      demoModels: false,
      threads: 1,
      contextSize: 2048,
      drainSeconds: 0,
      warmSpare: "off",
      modelsDir,
      ...flags,
    },
  );
  const service = await Service.start(config, log, undefined, hasGpu);
  await isReady(service.url);
  return {
    url: service.url,
    modelsDir,
    [Symbol.asyncDispose]: async () => {
      await service.stop();
      await rm(modelsDir, { recursive: true });
    },
  };
}

/** Waits until the server has settled: ready, or without a model that could become so. */
async function isReady(url: string): Promise<void> {
  for (;;) {
    const response = await fetch(`${url}/health/ready`);
    const body: unknown = await response.json();
    const status = typeof body === "object" && body !== null && "status" in body ? body.status : undefined;
    if (response.ok || status === "no model" || status === "failed") return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
