import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../../src/main.js", import.meta.url));

/** The runners that a process has started. */
export function runnersOf(serverPid: number): number[] {
  return living()
    .filter(({ parent, command }) => parent === serverPid && command.includes("runner/main.js"))
    .map(({ pid }) => pid);
}

/** Bytes of main memory that a process holds now. */
export function residentBytes(pid: number): number {
  const [, kilobytes = "0"] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kilobytes) * 1_024;
}

export function isAlive(pid: number): boolean {
  return living().some((candidate) => candidate.pid === pid);
}

/** How many processes one has started that are there, or have ended and it has not taken note of that. */
export function childrenOf(parentPid: number): number {
  return allProcesses().filter(({ parent }) => parent === parentPid).length;
}

/** Asks again and again, for what no event tells. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
  readonly hasEnded: boolean;
}

function living(): Process[] {
  return allProcesses().filter(({ hasEnded }) => !hasEnded);
}

function allProcesses(): Process[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const [state, parent] = readFileSync(`/proc/${name}/stat`, "latin1").split(") ").at(-1)?.split(" ") ?? [];
        const hasEnded = state === "Z" || state === "X";
        return { pid: Number(name), parent: Number(parent), command: readFileSync(`/proc/${name}/cmdline`, "utf8"), hasEnded };
      } catch {
        // It has ended since the folder was read.
        return [];
      }
    });
}

/** A server in a process of its own, as an operator starts it. */
export class ServerProcess implements AsyncDisposable {
  readonly url: string;
  readonly pid: number;
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  /** Its log, which is read unless a test pauses it. */
  readonly output: Readable;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, output: Readable, url: string, exited: ServerProcess["exited"]) {
    this.#child = child;
    this.output = output;
    this.pid = child.pid ?? 0;
    this.url = url;
    this.exited = exited;
  }

  /** @param sockets descriptors of sockets that listen, handed over as systemd does */
  static async start(
    flags: readonly string[],
    sockets: readonly number[] = [],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<ServerProcess> {
    const serve = [program, "serve", "--port", "0", "--gpu", "off", "--threads", "1", "--warm-spare", "off", ...flags];
    const child = spawn("sh", ["-c", 'LISTEN_PID=$$ exec "$0" "$@"', process.execPath, ...serve], {
      env: cleanEnvironment({ ...environment, LISTEN_FDS: String(sockets.length) }),
      stdio: ["ignore", "pipe", "inherit", ...sockets],
    });
    const exited = once(child, "exit").then(([code, signal]: unknown[]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
    }));
    assert.ok(child.stdout !== null);
    const lines = createInterface({ input: child.stdout });
    const url = await new Promise<string>((resolve, reject) => {
      lines.on("line", (line) => {
        const entry: unknown = JSON.parse(line);
        if (typeof entry === "object" && entry !== null && "url" in entry) resolve(String(entry.url));
      });
      lines.on("close", () => {
        reject(new Error("the server ended before it listened"));
      });
    });
    return new ServerProcess(child, child.stdout, url, exited);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await this.exited;
  }
}

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Longer than any command takes that ends by itself. */
const patienceMs = 30_000;

/**
 * Runs the command line to its end.
 *
 * @param within a command that runs the one that its arguments end with
 */
export async function runCommand(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  within: readonly string[] = [],
): Promise<Finished> {
  const [command, ...rest] = [...within, process.execPath, program, ...args];
  assert.ok(command !== undefined);
  const child = spawn(command, rest, {
    env: cleanEnvironment(environment),
    stdio: ["ignore", "pipe", "pipe"],
    timeout: patienceMs,
  });
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), exitCode(child)]);
  return { code, stdout, stderr };
}

async function exitCode(child: ChildProcess): Promise<number | null> {
  await once(child, "exit");
  return child.exitCode;
}

/** Without the settings of whoever runs the tests. */
function cleanEnvironment(additions: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("LLAMAPOD_"));
  return { ...Object.fromEntries(inherited), ...additions };
}
