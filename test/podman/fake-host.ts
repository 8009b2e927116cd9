import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import type { Finished } from "./podman.ts";

/** Of this machine only the tools that the scripts are written with. */
const tools = [
  ...[
    "awk",
    "basename",
    "bash",
    "cat",
    "cmp",
    "cp",
    "date",
    "dirname",
    "env",
    "grep",
    "head",
    "id",
    "ln",
    "ls",
    "mkdir",
    "mktemp",
  ],
  ...["mv", "printf", "realpath", "rm", "sed", "sh", "sleep", "sort", "stat", "tail", "timeout", "tr", "true"],
];

/** What a command does, by the pattern of its arguments; the first one that fits counts. Written in bash. */
export type Answers = Readonly<Record<string, string>>;

/**
 * A host is its files and its commands; those of this machine are not asked. Every call of a command that was put here is kept.
 */
export class FakeHost implements AsyncDisposable {
  readonly root: string;
  readonly bin: string;
  readonly home: string;

  private constructor(root: string) {
    this.root = root;
    this.bin = join(root, "bin");
    this.home = join(root, "home");
  }

  static async create(): Promise<FakeHost> {
    const host = new FakeHost(await mkdtemp(join(tmpdir(), "llamapod-host-")));
    await Promise.all([host.bin, host.home, join(host.root, "run")].map((folder) => mkdir(folder)));
    for (const tool of tools) {
      const path = ["/usr/bin", "/bin"].map((folder) => join(folder, tool)).find((candidate) => existsSync(candidate));
      if (path !== undefined) await symlink(path, join(host.bin, tool));
    }
    return host;
  }

  async file(path: string, content: string, mode = 0o644): Promise<string> {
    const absolute = join(this.root, path);
    await mkdir(dirname(absolute), { recursive: true });
    await writeFile(absolute, content);
    await chmod(absolute, mode);
    return absolute;
  }

  read(path: string): Promise<string> {
    return readFile(join(this.root, path), "utf8");
  }

  has(path: string): boolean {
    return existsSync(join(this.root, path));
  }

  /** Takes files or commands away. */
  async without(...paths: readonly string[]): Promise<void> {
    await Promise.all(paths.map((path) => rm(join(this.root, path), { recursive: true })));
  }

  /** @param body in bash; `$root` is this host's folder */
  async command(name: string, body: string): Promise<void> {
    await rm(join(this.bin, name), { force: true });
    const script = `#!/bin/bash\nroot=${this.root}\necho "$*" >> "$root/calls-${name}"\n${body}\n`;
    await this.file(`bin/${name}`, script, 0o755);
  }

  async answers(name: string, answers: Answers, otherwise = "exit 1"): Promise<void> {
    const cases = Object.entries(answers).map(([pattern, body]) => `  ${quoted(pattern)}) ${body === "" ? ":" : body} ;;`);
    await this.command(name, `case "$*" in\n${cases.join("\n")}\n  *) ${otherwise} ;;\nesac`);
  }

  /** How a command was called, a line each. */
  async calls(name: string): Promise<string> {
    return this.has(`calls-${name}`) ? this.read(`calls-${name}`) : "";
  }

  async run(script: string, args: readonly string[] = [], environment: Readonly<Record<string, string>> = {}): Promise<Finished> {
    const child = spawn("/bin/bash", [resolve("deploy/podman", script), ...args], {
      env: {
        PATH: this.bin,
        HOME: this.home,
        XDG_RUNTIME_DIR: join(this.root, "run"),
        LLAMAPOD_TEST_ROOT: this.root,
        ...environment,
      },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 60_000,
    });
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, "exit") as Promise<[number | null]>,
    ]);
    return { code, stdout, stderr };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.root, { recursive: true });
  }
}

/** Everything but the stars of a pattern stands for itself. */
function quoted(pattern: string): string {
  return pattern.replaceAll(/[^*]+/g, (part) => `'${part}'`);
}

/** The given answers before the usual ones. */
export const instead = (usual: Answers, answers: Answers): Answers => ({
  ...answers,
  ...Object.fromEntries(Object.entries(usual).filter(([pattern]) => !(pattern in answers))),
});

/** An engine that has the image, and whose container runs once it was made. Its state is in the file `container-NAME`. */
export const engineAnswers = (name: string): Answers => ({
  "info --format {{.Host.CgroupControllers}}": "echo '[cpu memory pids]'",
  "info --format*": "echo null",
  info: "",
  "version*": "echo 5.4.2",
  "image inspect *": "",
  "container inspect --format {{.State.Status}} {{.RestartCount}} *": `cat "$root/container-${name}"`,
  "container inspect --format {{.State.ExitCode}} *": `cat "$root/exit-code" 2> /dev/null || echo 0`,
  'container inspect --format {{index .Config.Labels "llamapod.start"}} *': `cat "$root/label-start" 2> /dev/null || echo`,
  'container inspect --format {{index .Config.Labels "llamapod.api-keys-file"}} *': `cat "$root/label-keys" 2> /dev/null || echo`,
  "container inspect --format {{index*": "echo",
  "container inspect --format {{.State.Status}}, exit*": "echo running, exit code 0",
  "container inspect *": `test -e "$root/container-${name}"`,
  "run *": `echo running 0 > "$root/container-${name}"`,
  "rm *": `rm -f "$root/container-${name}"`,
  "stop *": "",
  "update *": "",
  "port *": `cat "$root/port"`,
  "logs *": "echo the end of the log",
  "secret *": "",
  "pod rm *": "",
  "network *": "",
  "volume *": "",
});
