import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { builtLlamaServer } from "./build-llama-server.ts";
import type { Server } from "./server.ts";

/**
 * The peer, with its own defaults wherever the two need not be alike. `-c` is for all slots together: with a given number of
 * slots its KV cache is not unified, and each slot gets an equal part.
 */
export function llamaServer(program: string, extraArguments: readonly string[]): Server {
  return {
    name: "llama-server",
    version: version(program),
    readyPath: "/health",
    command: ({ modelPath, threads, slots, contextSize, device }, port) => ({
      program,
      arguments: [
        ...["-m", modelPath],
        ...["--host", "127.0.0.1", "--port", String(port)],
        ...["-t", String(threads), "-tb", String(threads)],
        ...["-np", String(slots), "-c", String(slots * contextSize)],
        ...(device === "gpu" ? ["-ngl", "all"] : ["--device", "none"]),
        "--no-webui",
        ...extraArguments,
      ],
    }),
  };
}

/** Where llama-server is: `--llama-server`, LLAMA_SERVER, the PATH, or where `build-llama-server` puts it. */
export function findLlamaServer(given: string | undefined): string {
  const program = locate(given ?? process.env["LLAMA_SERVER"]);
  const unused = unusedInstructions(program);
  if (unused.length > 0) {
    process.stderr.write(
      `${program} was built without ${unused.join(", ")}, which this processor has: it is slower than it could be.\n`,
    );
  }
  return program;
}

function locate(named: string | undefined): string {
  if (named !== undefined) {
    if (isExecutable(named)) return named;
    throw new Error(`${named} is not a program that can be run.`);
  }
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  const found = [...folders.map((folder) => join(folder, "llama-server")), builtLlamaServer()].find(isExecutable);
  if (found !== undefined) return found;
  throw new Error(
    [
      "llama-server, which the benchmark compares with, was not found. Any of these helps:",
      "  node dist/bench/main.js build-llama-server   builds it from the llama.cpp source that came with node-llama-cpp, so",
      "                                               that both have the same one (needs git, cmake and a C++ compiler; minutes)",
      "  --llama-server FILE or LLAMA_SERVER=FILE     takes one that is there already",
      "  --servers llamapod                           measures without it",
    ].join("\n"),
  );
}

/** Without this look, a build for processors only would take `-ngl all` and compute on the processor. */
export function assertHasGpu(program: string): void {
  const { stdout, stderr } = spawnSync(program, ["--list-devices"], { encoding: "utf8", timeout: 60_000 });
  if (/available devices:\s*(\(none\))?\s*$/i.test(`${stderr}\n${stdout}`.trim())) {
    throw new Error(
      `${program} sees no GPU. For NVIDIA's, build it with: node dist/bench/main.js build-llama-server -- -DGGML_CUDA=ON`,
    );
  }
}

function version(program: string): string {
  const { stdout, stderr } = spawnSync(program, ["--version"], { encoding: "utf8", timeout: 30_000 });
  const said = `${stdout}\n${stderr}`;
  const compiler = /built with (.+?)( for .*)?$/m.exec(said)?.[1];
  return [/version: (.+)/.exec(said)?.[1] ?? "unknown", compiler].filter((part) => part !== undefined).join(", ");
}

/** Where compilers differ most: the kernel's names of what a processor can do, and llama.cpp's. */
const instructions = {
  avx2: "AVX2",
  avx512f: "AVX512",
  avx512_vnni: "AVX512_VNNI",
  avx512_bf16: "AVX512_BF16",
  amx_int8: "AMX_INT8",
};

/** What the processor can do and the program makes no use of: compilers that do not know it leave it out without a word. */
function unusedInstructions(program: string): string[] {
  const cpuInfo = "/proc/cpuinfo";
  if (!existsSync(cpuInfo)) return [];
  const has = new Set(/^flags\s*: (.*)$/m.exec(readFileSync(cpuInfo, "utf8"))?.[1]?.split(" "));
  // It says what it uses before it finds that there is no such model.
  const { stdout, stderr } = spawnSync(program, ["-v", "-m", "/nonexistent"], { encoding: "utf8", timeout: 30_000 });
  const system = /system_info: .*/.exec(`${stdout}\n${stderr}`)?.[0];
  if (system === undefined) return [];
  return Object.entries(instructions).flatMap(([flag, name]) => (has.has(flag) && !system.includes(`${name} = 1`) ? [name] : []));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
