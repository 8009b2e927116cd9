import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { runCommand } from "../support/processes.ts";

const program = fileURLToPath(new URL("../../src/main.js", import.meta.url));

/** In CI a shell that is missing is a failure. */
function without(shell: string): string | false {
  const isHere = spawnSync(shell, ["--version"]).status === 0;
  return isHere || process.env["CI"] === "true"
    ? false
    : `THERE IS NO ${shell} HERE: install Debian's package of that name to run this`;
}

describe("the scripts for completion, in the shells that they are for", () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "llamapod-completion-"));
    await mkdir(join(folder, "bin"));
    for (const [shell, name] of [
      ["zsh", "_llamapod"],
      ["fish", "llamapod.fish"],
    ] as const) {
      await writeFile(join(folder, name), (await runCommand(["completion", shell])).stdout);
    }
    // Models are asked for while words are completed; what has been completed is told.
    const stub = `#!/bin/sh\n[ "$1" = list ] && exec '${process.execPath}' '${program}' "$@"\necho "asked for: $*;"\n`;
    await writeFile(join(folder, "bin", "llamapod"), stub, { mode: 0o755 });
  });
  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function run(shell: string, ...args: readonly string[]): Promise<string> {
    const env = {
      ...process.env,
      PATH: `${join(folder, "bin")}:${process.env["PATH"] ?? ""}`,
      HOME: folder,
      XDG_DATA_HOME: join(folder, "data"),
      TERM: "dumb",
    };
    const child = spawn(shell, args, { cwd: folder, env, stdio: ["ignore", "pipe", "inherit"], timeout: 60_000 });
    return text(child.stdout);
  }

  /** Types words on a terminal, with a tab after each line. @returns the lines that are carried out then */
  async function typed(load: string, lines: readonly string[]): Promise<string[]> {
    const script = `
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell ${JSON.stringify(load)}
for words in "$@"; do
  zpty -w shell "llamapod $words"$'\\t'
  zpty -r -m shell seen '*asked for: *;*'
  print -r -- \${\${seen##*asked for: }%%;*}
done
zpty -d shell`;
    return (await run("zsh", "-f", "-c", script, "typed", ...lines)).trimEnd().split("\n");
  }

  const beginnings = ["swi", "pull --forc", "run qwen2.5-0", "completion fi"];
  const wholes = ["switch", "pull --force", "run qwen2.5-0.5b", "completion fish"];

  test("zsh, found in fpath", { skip: without("zsh") }, async () => {
    const load = "PS1= ; fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D";
    assert.deepEqual(await typed(load, beginnings), wholes);
  });

  test("zsh, read by the shell itself", { skip: without("zsh") }, async () => {
    const load = "PS1= ; autoload -Uz compinit; compinit -u -D; source ./_llamapod";
    assert.deepEqual(await typed(load, beginnings), wholes);
  });

  test(
    "fish: commands with what they do, flags, models and no files beside them, shells",
    { skip: without("fish") },
    async () => {
      const complete = async (words: string) =>
        (await run("fish", "--no-config", "-c", `source ./llamapod.fish; complete -C 'llamapod ${words}'`)).trim().split("\n");
      assert.deepEqual(
        (await complete("s")).map((line) => line.split("\t")),
        [
          ["serve", "serve the models of a folder"],
          ["show", "show what is known about a model"],
          ["switch", "make a model of the running server the one that answers"],
        ],
      );
      assert.deepEqual(await complete("pull --f"), ["--force"]);
      assert.deepEqual(await complete("run qwen2.5-0"), ["qwen2.5-0.5b"]);
      assert.deepEqual(await complete("completion f"), ["fish"]);
      const models = await complete("switch ");
      assert.ok(models.includes("llama3-8b") && !models.some((name) => name.startsWith("_llamapod")), models.join());
      assert.ok((await complete("pull _lla")).includes("_llamapod"), "a file can be pulled");
    },
  );
});
