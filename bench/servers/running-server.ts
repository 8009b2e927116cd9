import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Server, ServerSettings } from "./server.ts";

const loadLimitMs = 15 * 60 * 1000;
const stopLimitMs = 20_000;
const pollMs = 50;

/** A server of the benchmark, with its model loaded. */
export class RunningServer {
  readonly server: Server;
  readonly port: number;
  readonly commandLine: string;
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #kill = (): void => {
    this.#child.kill("SIGTERM");
    rmSync(this.#folder, { recursive: true, force: true });
  };

  static async start(server: Server, settings: ServerSettings): Promise<RunningServer> {
    const running = new RunningServer(server, settings, await freePort());
    try {
      await running.#ready();
      return running;
    } catch (thrown) {
      await running.stop();
      throw thrown;
    }
  }

  private constructor(server: Server, settings: ServerSettings, port: number) {
    const command = server.command(settings, port);
    this.server = server;
    this.port = port;
    this.commandLine = [command.program, ...command.arguments].join(" ");
    this.#folder = mkdtempSync(join(tmpdir(), "llamapod-bench-"));
    // To a file: reading a pipe would be work for the client while it measures.
    const log = openSync(this.#logPath, "a");
    this.#child = spawn(command.program, command.arguments, {
      cwd: this.#folder,
      env: environment(),
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    process.once("exit", this.#kill);
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.commandLine} cannot be started`);
    return this.#child.pid;
  }

  /** The last lines that the server wrote. */
  get lastLines(): string {
    return readFileSync(this.#logPath, "utf8").trimEnd().split("\n").slice(-15).join("\n");
  }

  async stop(): Promise<void> {
    process.off("exit", this.#kill);
    if (!this.#hasEnded) {
      const ended = once(this.#child, "exit");
      this.#child.kill("SIGTERM");
      const killer = setTimeout(() => this.#child.kill("SIGKILL"), stopLimitMs);
      await ended;
      clearTimeout(killer);
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #logPath(): string {
    return join(this.#folder, "log");
  }

  get #hasEnded(): boolean {
    return this.#child.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  async #ready(): Promise<void> {
    this.#child.on("error", () => undefined);
    const url = `http://127.0.0.1:${this.port}${this.server.readyPath}`;
    const deadline = performance.now() + loadLimitMs;
    while (performance.now() < deadline) {
      if (this.#hasEnded) throw new Error(`${this.commandLine}\nended before its model was loaded:\n${this.lastLines}`);
      const status = await fetch(url).then(
        (response) => response.status,
        () => 0,
      );
      if (status === 200) return;
      await sleep(pollMs);
    }
    throw new Error(`${this.commandLine}\nis not ready after ${loadLimitMs / 1000} s:\n${this.lastLines}`);
  }
}

/** Both programs read settings of their own from the environment; a benchmark's result must not depend on them. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([key]) => !/^(LLAMAPOD|LLAMA_ARG)_/.test(key)));
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}
