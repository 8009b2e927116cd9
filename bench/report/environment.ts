import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem, type } from "node:os";
import { basename } from "node:path";
import type { BenchModel } from "../model.ts";
import { llamaCppRelease } from "../servers/build-llama-server.ts";
import type { Device, Server } from "../servers/server.ts";

/** What a reader must know to judge the figures, or to get them again. */
export interface Environment {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly gpu: string;
  readonly system: string;
  /** The 1-minute load average before the first server was started. */
  readonly loadBefore: number;
  readonly node: string;
  readonly engine: string;
  readonly servers: Readonly<Record<string, string>>;
  readonly model: { readonly file: string; readonly bytes: number; readonly note: string };
  readonly threads: number;
  readonly rounds: number;
  readonly commandLine: string;
}

export interface EnvironmentInput {
  readonly servers: readonly Server[];
  readonly model: BenchModel;
  readonly threads: number;
  readonly device: Device;
  readonly rounds: number;
}

export function describeEnvironment(input: EnvironmentInput): Environment {
  const { tag, commit } = llamaCppRelease();
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    system: `${type()} ${release()}`,
    loadBefore: loadavg()[0] ?? Number.NaN,
    node: process.version,
    engine: `llama.cpp ${tag} (${commit.slice(0, 7)})`,
    servers: Object.fromEntries(input.servers.map(({ name, version }) => [name, version])),
    gpu: input.device === "gpu" ? describeGpu() : "not used",
    model: { file: basename(input.model.path), bytes: statSync(input.model.path).size, note: input.model.note },
    threads: input.threads,
    rounds: input.rounds,
    commandLine: ["npm run bench --", ...process.argv.slice(2).map(withoutFolders)].join(" "),
  };
}

function describeGpu(): string {
  const query = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];
  const { error, stdout } = spawnSync("nvidia-smi", query, { encoding: "utf8", timeout: 30_000 });
  return error ? "unknown" : stdout.trim().replaceAll("\n", "; ");
}

/** Where files lie on the measuring machine is nobody's business, and no help to a reader. */
function withoutFolders(argument: string): string {
  return argument.replace(/(^|=)\/\S*\//, "$1");
}
