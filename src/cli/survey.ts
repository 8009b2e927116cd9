import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { dirname } from "node:path";
import { pino } from "pino";
import { ConfigError, loadConfig, type Config } from "../config.ts";
import type { Catalogue, CatalogueEntry } from "../models/catalogue.ts";
import { Capacity } from "../models/memory/capacity.ts";
import { Estimates } from "../models/memory/estimates.ts";
import { add, none } from "../models/memory/memory.ts";
import { RunnerProcess } from "../models/runner-process.ts";
import { hasEnded } from "../models/runner-state.ts";
import { LlamapodError } from "../protocol/errors.ts";
import type { Memory, VideoMemory } from "../protocol/runner.ts";
import { catalogueOf } from "./settings.ts";

/**
 * What `serve` would find here, without a container, for deploy/podman/doctor.sh: a line `NAME VALUE` each. Started by itself, with
 * the file of settings as its argument, if there is one; a doctor has to work where the command line does not.
 */

const stopGraceMs = 2_000;

function tell(name: string, value: string | number): void {
  process.stdout.write(`${name} ${String(value).replaceAll(/\s+/g, " ").trim()}\n`);
}

const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

async function mayDo(path: string, mode: number): Promise<true | string> {
  try {
    await access(path, mode);
    return true;
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown ? String(thrown.code) : messageOf(thrown);
  }
}

/** What this user may do with the folder, or with the one that it would be made in. */
async function tellFolder(folder: string): Promise<void> {
  tell("folder", folder);
  let existing = folder;
  while ((await mayDo(existing, constants.F_OK)) === "ENOENT" && dirname(existing) !== existing) existing = dirname(existing);
  tell("folder-there", existing === folder ? "yes" : "no");
  const mayRead = await mayDo(existing, constants.R_OK | constants.X_OK);
  const mayWrite = await mayDo(existing, constants.W_OK | constants.X_OK);
  if (mayRead !== true && existing === folder) tell("folder-unreadable", mayRead);
  if (mayWrite !== true) tell("folder-unwritable", mayWrite);
}

async function tellUnreadable({ entries }: Catalogue): Promise<void> {
  for (const path of entries.flatMap(({ file }) => file.paths)) {
    const mayRead = await mayDo(path, constants.R_OK);
    if (mayRead === true) continue;
    tell("file-unreadable", `${mayRead} ${path}`);
    return;
  }
}

interface Opened {
  readonly runner: RunnerProcess;
  readonly backend: string;
  readonly videoMemory: VideoMemory;
}

/** @throws {Error} where llama.cpp opens none */
function open({ gpu, threads }: Config): Promise<Opened> {
  return new Promise((resolve, reject) => {
    const runner = new RunnerProcess({ gpu, threads, logLevel: "error" }, pino({ level: "silent" }), {
      stateChanged: ({ state }) => {
        if (state.name === "prepared") resolve({ runner, ...state });
        else if (state.name === "failed") reject(new Error(state.cause));
      },
      stepped: () => undefined,
      beat: () => undefined,
      sawVideoMemory: () => undefined,
    });
  });
}

/** @returns nothing where there is no backend */
async function tellBackend(config: Config): Promise<Opened | undefined> {
  tell("gpu", config.gpu);
  try {
    const opened = await open(config);
    tell("backend", opened.backend);
    return opened;
  } catch (thrown) {
    tell("backend-problem", messageOf(thrown));
    return undefined;
  }
}

/** Those that shall be loaded at the same time. One that there is not is told of. */
async function configuredModels(config: Config, catalogue: Catalogue): Promise<ReadonlySet<CatalogueEntry>> {
  const first = config.model === undefined ? catalogue.firstUsable : undefined;
  const names = [...(config.model === undefined ? [] : [config.model]), ...config.preload, ...config.pinned];
  const models = new Set(first === undefined ? [] : [first]);
  for (const name of names) {
    try {
      models.add(await catalogue.find(name));
    } catch (thrown) {
      tell("unusable", `${name} ${messageOf(thrown)}`);
    }
  }
  return models;
}

async function tellMemory(config: Config, catalogue: Catalogue, { runner: first, videoMemory }: Opened): Promise<void> {
  let runner = first;
  const estimates = new Estimates(config, async (command) => {
    // One that has refused a model is gone.
    if (hasEnded(runner.state)) ({ runner } = await open(config));
    return runner.estimate(command);
  });
  let needed: Memory = none;
  const fitting: string[] = [];
  for (const model of await configuredModels(config, catalogue)) {
    try {
      needed = add(needed, await estimates.request(model));
      fitting.push(model.id);
    } catch (thrown) {
      tell("unusable", `${model.id} ${messageOf(thrown)}`);
    }
  }
  await runner.stop(stopGraceMs);
  const capacity = new Capacity(config);
  capacity.sawVideoMemory(videoMemory, 0, 1);
  const has = capacity.read([]);
  tell("models", fitting.join(", "));
  tell("needed-ram", needed.ram);
  tell("needed-vram", needed.vram);
  tell("has-ram", has.ram);
  tell("has-vram", has.vram);
}

async function survey(file: string | undefined): Promise<void> {
  const config = loadConfig(file, process.env, {});
  for (const port of [config.port, config.metricsPort]) if (port !== undefined && port !== 0) tell("port", port);
  await tellFolder(config.modelsDir);
  const catalogue = await catalogueOf(config);
  await tellUnreadable(catalogue);
  const opened = await tellBackend(config);
  if (opened !== undefined) await tellMemory(config, catalogue, opened);
}

try {
  await survey(process.argv[2]);
} catch (thrown) {
  if (!(thrown instanceof ConfigError) && !(thrown instanceof LlamapodError)) throw thrown;
  tell("settings-problem", thrown.message);
}
