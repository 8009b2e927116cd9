import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFile, mkdtemp, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { exitCodes } from "../../src/cli/exit-codes.ts";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { sample, scrape } from "../support/metrics.ts";
import { runCommand } from "../support/processes.ts";
import { greedy, StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";
import { hasTerminal, Terminal } from "../support/terminal.ts";

const program = fileURLToPath(new URL("../../src/main.js", import.meta.url));

describe("commands that look into the models folder", () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "llamapod-cli-"));
  });
  after(async () => {
    await rm(folder, { recursive: true });
  });

  const run = (...args: string[]) => runCommand([args[0] ?? "", "--models-dir", folder, ...args.slice(1)]);

  test("show tells of the file, the catalogue and the template; an unknown model is exit code 8", async () => {
    await copyFile(await tinyModel("gpt2"), join(folder, "gpt-sw3-6.7b-v2-instruct-Q4_K_M.gguf"));
    const { stdout } = await run("show", "gpt-sw3-6.7b-v2");
    assert.match(stdout, /^model +gpt-sw3-6\.7b\n/);
    assert.match(stdout, /architecture +gpt2\n/);
    assert.match(stdout, /chat template +of the catalogue\n/);
    const json = JSON.parse((await run("show", "gpt-sw3-6.7b", "--json")).stdout) as { state: string; stop: string[] };
    assert.deepEqual([json.state, json.stop], ["available", ["User:"]]);
    assert.match((await run("show", "qwen2.5-7b")).stdout, /state +not downloaded/);
    const digest = "65b8fcd92af6b4fefa935c625d1ac27ea29dcb6ee14589c55a8f115ceaaa1423";
    await writeFile(join(folder, "models.yaml"), "models: {qwen2.5-7b: {gated: true}}");
    assert.match((await run("show", "qwen2.5-7b")).stdout, new RegExp(`sha256 +${digest}\n(.*\n)*gated +yes`));
    const known = JSON.parse((await run("show", "qwen2.5-7b", "--json")).stdout) as { sha256: string; gated: boolean };
    assert.deepEqual([known.sha256, known.gated], [digest, true]);
    await rm(join(folder, "models.yaml"));
    assert.equal((await run("show", "nothing")).code, exitCodes.notFound.code);
  });

  test("rm deletes the model's file, of a link only the link, and asks where it can", async () => {
    const outside = join(await mkdtemp(join(tmpdir(), "llamapod-outside-")), "original.gguf");
    await copyFile(await tinyModel("gpt2"), outside);
    await symlink(outside, join(folder, "linked.gguf"));
    const unasked = await run("rm", "linked");
    assert.equal(unasked.code, exitCodes.usage.code);
    assert.match(unasked.stderr, /--yes/);
    assert.ok((await readdir(folder)).includes("linked.gguf"));
    assert.equal((await run("rm", "linked", "--yes")).code, 0);
    assert.ok(!(await readdir(folder)).includes("linked.gguf"));
    assert.ok((await readdir(join(outside, ".."))).includes("original.gguf"));
    await copyFile(await tinyModel("gpt2"), join(folder, "copied.gguf"));
    const { size } = await stat(join(folder, "copied.gguf"));
    const told = JSON.parse((await run("rm", "copied", "--yes", "--json")).stdout) as unknown;
    assert.deepEqual(told, { model: "copied", deleted: [join(folder, "copied.gguf")], size_bytes: size });
    for (const name of ["linked", "../outside", "..", "/etc/passwd"]) {
      assert.equal((await run("rm", name, "--yes")).code, exitCodes.notFound.code, name);
    }
  });

  test("list tells what is wrong with models.yaml, and lists the rest", async () => {
    await writeFile(join(folder, "models.yaml"), "models: {a: {fiel: x}}");
    const { code, stdout, stderr } = await run("list");
    assert.equal(code, 0);
    assert.match(stderr, /models\.yaml.*fiel/);
    assert.match(stdout, /qwen2\.5-0\.5b +not downloaded +491 MB +32768 +Apache-2\.0/);
  });

  test("the models folder is the user's own, wherever a command is typed", async () => {
    const { stdout } = await runCommand(["list", "--json"], { XDG_DATA_HOME: folder });
    assert.equal((JSON.parse(stdout) as { folder: string }).folder, join(folder, "llamapod", "models"));
  });
});

describe("commands that talk to a running server", () => {
  let service: RunningService;

  before(async () => {
    service = await startService(["llama", "gpt2"]);
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  const run = (...args: string[]) => runCommand(args, { LLAMAPOD_URL: service.url });

  test("run with a question: the answer, and nothing else on standard output", async () => {
    const args = ["run", "llama", "Hello", "--temperature", "0", "--max-tokens", "8", "--json"];
    const { code, stdout, stderr } = await run(...args);
    assert.equal(code, 0, stderr);
    const answer = JSON.parse(stdout) as { text: string; finish_reason: string };
    assert.equal(answer.finish_reason, "length");
    const plain = await run(...args.slice(0, -1));
    assert.equal(plain.stdout, `${answer.text}\n`);
  });

  test("run takes what is piped in", async () => {
    const child = spawn(process.execPath, [program, "run", "--max-tokens", "4"], {
      env: { ...process.env, LLAMAPOD_URL: service.url },
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.stdin.end("Hello from a pipe");
    assert.notEqual((await text(child.stdout)).trim(), "");
  });

  test("Ctrl-C stops the answer, with exit code 130", async () => {
    const child = spawn(process.execPath, [program, "run", "llama", "Hello", "--max-tokens", "1900"], {
      env: { ...process.env, LLAMAPOD_URL: service.url },
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stdout.once("data", () => child.kill("SIGINT"));
    const errors = text(child.stderr);
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    assert.equal(code, exitCodes.interrupted.code, await errors);
  });

  test("switch shows the states and ends when the model answers; ps shows it", async () => {
    const { code, stdout, stderr } = await run("switch", "gpt2");
    assert.equal(code, 0, stderr);
    assert.match(stderr, /gpt2: loading/);
    assert.match(stdout, /gpt2 answers now/);
    const { models } = JSON.parse((await run("ps", "--json")).stdout) as { models: { id: string; active: boolean }[] };
    assert.equal(models.find(({ active }) => active)?.id, "gpt2");
    assert.match((await run("ps")).stdout, /^MODEL +STATE +ACTIVE.*\n(.*\n)*gpt2 +ready +yes/);
    assert.equal((await run("switch", "gpt2")).code, 0, "it is a second time, too");
  });

  test("switch --json: a line for each step", async () => {
    const { code, stdout, stderr } = await run("switch", "llama", "--json");
    assert.equal(code, 0, stderr);
    const steps = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { model: string; state: string });
    assert.ok(steps.every(({ model }) => model === "llama"));
    assert.equal(steps.at(-1)?.state, "ready");
  });

  test("bench measures reading and writing, in a table and as JSON", async () => {
    const { code, stdout, stderr } = await run("bench", "llama", "--json");
    assert.equal(code, 0, stderr);
    const { model, ...measured } = JSON.parse(stdout) as { model: string } & Readonly<Record<string, number>>;
    assert.equal(model, "llama");
    assert.deepEqual(Object.keys(measured), ["prompt_tokens_per_second", "decode_tokens_per_second", "time_to_first_token_ms"]);
    for (const [name, value] of Object.entries(measured)) assert.ok(value > 0, name);
    assert.match((await run("bench", "llama")).stdout, /^MODEL +READS.*WRITES.*FIRST TOKEN, MS\nllama( +\d+(\.\d)?){3}\n$/);
  });

  test("bench reads a prompt that no slot holds, the second time too", async () => {
    const tokens = async (name: string) =>
      sample(await scrape(service.url), `llamapod_prompt_tokens${name}_total`, { model: "llama" });
    await run("bench", "llama");
    const before = [await tokens(""), await tokens("_cached")] as const;
    await run("bench", "llama");
    const read = (await tokens("")) - before[0];
    const cached = (await tokens("_cached")) - before[1];
    assert.ok(read > 500 && cached < read / 4, `${cached} of ${read} tokens were in a slot`);
  });

  const noTerminal = hasTerminal ? false : "THERE IS NO script HERE: install Debian's package bsdutils to run this";

  test("a conversation on a terminal goes on, begins anew and ends", { skip: noTerminal }, async () => {
    using terminal = new Terminal(["run", "llama", "--max-tokens", "3", "--temperature", "0"], { LLAMAPOD_URL: service.url });
    await terminal.until("> ");
    assert.match(await terminal.say("/help", "> "), /\/clear +begin a new conversation/);
    const first = await terminal.say("One", "> ");
    const second = await terminal.say("One", "> ");
    assert.notEqual(second, first, "what was said before belongs to the question");
    await terminal.say("/clear", "> ");
    assert.equal(await terminal.say("One", "> "), first, "and not any more");
    assert.match(await terminal.say("/nonsense", "> "), /There is no \/nonsense/);
    assert.equal(await terminal.exitAfter("/exit"), 0);
  });

  test("switch says that the model before it makes room, and Ctrl-C calls it off", async () => {
    await using full = await startService(["llama", "gpt2"], { maxResident: 1, parkAfterSeconds: 60 });
    using client = await StreamClient.connect(full.url);
    client.send({ type: "generate", ...greedy("long", 2_000) });
    await client.take("delta", "long");
    const child = spawn(process.execPath, [program, "switch", "gpt2"], {
      env: { ...process.env, LLAMAPOD_URL: full.url },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let errors = "";
    child.stderr.on("data", (data: Buffer) => {
      errors += data.toString();
      if (data.includes("gpt2: draining")) child.kill("SIGINT");
    });
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    assert.equal(code, exitCodes.interrupted.code, errors);
    assert.match(errors, /called off/);
    const told = client.received.flatMap((message) => (message.type === "model" && message.id === "gpt2" ? [message] : []));
    assert.ok(told.some(({ state, reason }) => state === "starting" && reason === "waits for llama to make room"));
    await client.takeWhere((message) => message.type === "model" && message.id === "gpt2" && message.state === "available");
    client.send({ type: "cancel", id: "long" });
    await client.take("done", "long");
  });

  test("a model that is not there is exit code 8, a server that is not there 4", async () => {
    assert.equal((await run("switch", "nothing")).code, exitCodes.notFound.code);
    const missing = await run("switch", "qwen2.5-7b");
    assert.equal(missing.code, exitCodes.notFound.code);
    assert.match(missing.stderr, /llamapod pull qwen2\.5-7b/);
    assert.equal((await run("run", "nothing", "x")).code, exitCodes.notFound.code);
    for (const args of [["ps"], ["switch", "x"], ["run", "x", "y"]]) {
      const { code, stderr } = await runCommand([...args, "--url", "http://127.0.0.1:1"]);
      assert.equal(code, exitCodes.unreachable.code, args.join(" "));
      assert.match(stderr, /llamapod serve.*--url/);
    }
  });
});

describe("help and completion", () => {
  test("each command has examples and its flags, and the exit codes are in the help", async () => {
    const { stdout } = await runCommand(["--help"]);
    const commands = [...stdout.matchAll(/^ {2}([a-z]+)(?:\||\s)/gm)]
      .map(([, name]) => name ?? "")
      .filter((name) => name !== "help");
    const expected = ["serve", "pull", "list", "show", "rm", "ps", "switch", "run", "bench", "key", "doctor", "completion"];
    assert.deepEqual(commands.slice(0, expected.length), expected);
    for (const { code, meaning } of Object.values(exitCodes))
      assert.match(stdout, new RegExp(`^ +${code} +${meaning.slice(0, 10)}`, "m"));
    for (const name of expected) {
      const help = await runCommand([name, "--help"]);
      assert.equal(help.code, 0);
      assert.match(help.stdout, /Examples?:\n {2}.*llamapod/, name);
      assert.equal(help.stdout.match(/^Exit codes:/gm)?.length, 1, `${name} says once what its exit codes are`);
    }
  });

  test("what a command does not know is told, with the help that lists what it does", async () => {
    const { code, stderr } = await runCommand(["list", "--nonsense"]);
    assert.equal(code, exitCodes.usage.code);
    assert.match(stderr, /unknown option '--nonsense'\n\(llamapod list --help lists what there is\)/);
    assert.match((await runCommand(["nonsense"])).stderr, /unknown command 'nonsense'\n\(llamapod --help lists/);
  });

  test("the scripts for zsh and fish have every command, its flags, and the shells", async () => {
    for (const [shell, flag] of [
      ["zsh", "--force"],
      ["fish", "-l force"],
    ] as const) {
      const { code, stdout } = await runCommand(["completion", shell]);
      assert.equal(code, 0);
      for (const word of ["serve", "doctor", "completion", flag, "bash zsh fish", "llamapod list --json"])
        assert.ok(stdout.includes(word), `${shell}: ${word}`);
    }
    assert.equal((await runCommand(["completion", "tcsh"])).code, exitCodes.usage.code);
  });

  test("key --json: the key, and the line for the file of keys, which has only its hash", async () => {
    const { stdout, stderr } = await runCommand(["key", "alice", "--scopes", "chat,admin", "--json"]);
    const made = JSON.parse(stdout) as { name: string; scopes: string[]; key: string; line: string };
    assert.deepEqual([made.name, made.scopes], ["alice", ["chat", "admin"]]);
    assert.match(made.line, /^alice [0-9a-f]{64} chat,admin$/);
    assert.ok(!made.line.includes(made.key));
    assert.equal(stderr, "");
  });

  test("the bash script completes commands, flags and models", async () => {
    const { stdout } = await runCommand(["completion", "bash"]);
    const folder = await mkdtemp(join(tmpdir(), "llamapod-completion-"));
    const script = `${stdout}
llamapod() { "${process.execPath}" "${program}" "$@"; }
complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _llamapod; echo "\${COMPREPLY[*]}"; }
complete_words llamapod s
complete_words llamapod pull --f
complete_words llamapod pull qwen2.5-0
complete_words llamapod completion f`;
    const child = spawn("bash", ["-c", script], {
      env: { ...process.env, XDG_DATA_HOME: folder },
      stdio: ["ignore", "pipe", "inherit"],
    });
    assert.equal(await text(child.stdout), "serve show switch\n--force\nqwen2.5-0.5b\nfish\n");
    await rm(folder, { recursive: true });
  });
});
