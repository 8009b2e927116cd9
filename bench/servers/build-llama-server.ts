import { spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readSync, renameSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { benchCache, llamaCppFolder } from "../paths.ts";

/** The release of llama.cpp inside node-llama-cpp, and so the one to compare with. */
export function llamaCppRelease(): { readonly tag: string; readonly commit: string } {
  const info: unknown = JSON.parse(readFileSync(join(llamaCppFolder, "llama.cpp.info.json"), "utf8"));
  const { tag } = z.object({ tag: z.string().regex(/^[\w.-]+$/) }).parse(info);
  // A git bundle starts with lines of text: its version, then a commit for each ref.
  const head = Buffer.alloc(256);
  const file = openSync(bundle(), "r");
  readSync(file, head);
  closeSync(file);
  return { tag, commit: /\n([0-9a-f]{40}) HEAD\n/.exec(head.toString("latin1"))?.[1] ?? "unknown" };
}

export function builtLlamaServer(): string {
  return join(sourceFolder(), "build", "bin", "llama-server");
}

/** Builds llama-server for this machine's processor from the source that node-llama-cpp carries. Returns its path. */
export function buildLlamaServer(cmakeFlags: readonly string[]): string {
  const source = sourceFolder();
  if (!existsSync(source)) {
    mkdirSync(benchCache, { recursive: true });
    const partial = `${source}.partial`;
    rmSync(partial, { recursive: true, force: true });
    run("git", ["clone", bundle(), partial]);
    renameSync(partial, source);
  }
  const build = join(source, "build");
  const off = ["LLAMA_CURL", "LLAMA_OPENSSL", "LLAMA_BUILD_UI", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES"];
  const flags = ["-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", ...off.map((name) => `-D${name}=OFF`), ...cmakeFlags];
  run("cmake", ["-S", source, "-B", build, ...flags]);
  run("cmake", ["--build", build, "--target", "llama-server", "--parallel", String(availableParallelism())]);
  return builtLlamaServer();
}

function sourceFolder(): string {
  return join(benchCache, `llama.cpp-${llamaCppRelease().tag}`);
}

function bundle(): string {
  return join(llamaCppFolder, "gitRelease.bundle");
}

function run(program: string, args: readonly string[]): void {
  // Git sets variables like GIT_DIR for what it runs (hooks, for example), and they would point this git there.
  const env = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith("GIT_")));
  const { status, error } = spawnSync(program, args, { stdio: "inherit", env });
  if (error) throw new Error(`${program} cannot be run: ${error.message}`, { cause: error });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} ended with ${status ?? "a signal"}.`);
}
