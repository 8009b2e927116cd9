import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { hostileFile } from "../fixtures/hostile.ts";
import { runCommand, ServerProcess, until } from "../support/processes.ts";
import { hasTerminal, Terminal } from "../support/terminal.ts";

describe("a first model that cannot be loaded", () => {
  let folder: string;
  let hostile: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "llamapod-failed-start-"));
    hostile = basename(await hostileFile("unknown-architecture", folder), ".gguf");
    await writeFile(join(folder, "notes.gguf"), "not a model");
  });
  after(() => rm(folder, { recursive: true }));

  const exitOnFailedStart = (model: string) =>
    runCommand(["serve", "--port", "0", "--gpu", "off", "--models-dir", folder, "--model", model], {
      LLAMAPOD_EXIT_ON_FAILED_START: "true",
    });

  test("leaves the server running, which says why it is not ready", async () => {
    await using server = await ServerProcess.start(["--models-dir", folder, "--model", hostile]);
    await until(async () => (await (await fetch(`${server.url}/health/ready`)).text()).includes("unknown model architecture"));
  });

  test("ends it with the reason, where it is told to", async () => {
    const { code, stdout } = await exitOnFailedStart(hostile);
    assert.equal(code, 3, stdout);
    assert.match(stdout, /the server cannot start: .*unknown model architecture/);
  });

  test("the reason is the last line of the log file, too", async () => {
    const logFile = join(folder, "llamapod.log");
    const { code } = await runCommand(
      ["serve", "--port", "0", "--gpu", "off", "--models-dir", folder, "--model", hostile, "--exit-on-failed-start"],
      { LLAMAPOD_LOG_FILE: logFile },
    );
    assert.equal(code, 3);
    const last = (await readFile(logFile, "utf8")).trimEnd().split("\n").at(-1);
    assert.match(last ?? "", /^\{"level":60,.*the server cannot start: /);
  });

  const noTerminal = hasTerminal ? false : "THERE IS NO script HERE: install Debian's package bsdutils to run this";
  test("on a terminal the log is one for people", { skip: noTerminal }, async () => {
    const flags = ["--port", "0", "--gpu", "off", "--models-dir", folder, "--model", "notes", "--exit-on-failed-start"];
    using terminal = new Terminal(["serve", ...flags]);
    assert.match(await terminal.until("cannot start"), /\[\d\d:\d\d:\d\d\] .*FATAL.*: .*the server cannot start/);
    assert.equal(await terminal.exited(), 3);
  });

  test("ends it for a file that is no model too", async () => {
    const { code, stdout } = await exitOnFailedStart("notes");
    assert.equal(code, 3, stdout);
    assert.match(stdout, /the server cannot start: .*GGUF/);
  });
});
