import { spawn, spawnSync, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../../src/main.js", import.meta.url));

/** `script` runs a command on a terminal of its own. */
export const hasTerminal = spawnSync("script", ["--version"]).status === 0;

/** The command line, as somebody sees it who types. */
export class Terminal implements Disposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  /** What has been shown and not been taken. */
  #shown = "";

  constructor(args: readonly string[], environment: Readonly<Record<string, string>> = {}) {
    const command = [process.execPath, program, ...args].map((word) => `'${word}'`).join(" ");
    this.#child = spawn("script", ["--quiet", "--return", "--echo", "never", "--command", command, "/dev/null"], {
      env: { ...process.env, TERM: "dumb", ...environment },
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#child.stdout.setEncoding("utf8");
    this.#child.stdout.on("data", (text: string) => {
      this.#shown += text;
    });
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL");
  }

  /** @returns what is shown up to a text */
  async until(text: string): Promise<string> {
    while (!this.#shown.includes(text)) await once(this.#child.stdout, "data");
    const end = this.#shown.indexOf(text) + text.length;
    const shown = this.#shown.slice(0, end);
    this.#shown = this.#shown.slice(end);
    return shown;
  }

  /** @returns what is shown for a line, up to a text */
  say(line: string, text: string): Promise<string> {
    this.#child.stdin.write(`${line}\n`);
    return this.until(text);
  }

  /** @param line that is said last */
  async exitAfter(line: string): Promise<number | null> {
    this.#child.stdin.write(`${line}\n`);
    return this.exited();
  }

  async exited(): Promise<number | null> {
    if (this.#child.exitCode === null) await once(this.#child, "exit");
    return this.#child.exitCode;
  }
}
