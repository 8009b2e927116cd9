import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { accessSync, constants, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { LlamapodClient } from "llamapod/client";
import { CheckedSocket as WebSocket } from "../support/checked-socket.ts";
import { until } from "../support/processes.ts";
import { collectBlocks, filledIn, parseBlocks } from "./fences.ts";
import { asUser, buildEnvironment, podman, skip, systemPath } from "./podman.ts";

/** Its exit code speaks of the host: 1 has warnings, 3 lacks something. */
const speaksOfTheHost = /^deploy\/podman\/doctor\.sh\b/;

/** Stays in the foreground until somebody stops it. */
const staysThere = /^podman run (?!.*--detach).*:cpu$/;

const blocks = await collectBlocks();
const address = "http://127.0.0.1:8080";

test("a fence with a label that nobody knows is refused", () => {
  assert.throws(() => parseBlocks("page.md", "```sh needs-luck\ntrue\n```\n"), /page\.md:2: nobody knows/);
  assert.throws(() => parseBlocks("page.md", "```console\ntrue\n```\n"), /nobody knows/);
  assert.deepEqual(
    parseBlocks("docs/page.md", "# A (b)\n\n```text\n# c\n```\n```sh needs-systemd\n# why\na \\\n  b # c\n\nd\n```\n"),
    [{ place: "docs/page.md:7", anchor: "page.md#a-b", needs: "systemd", commands: ["a    b # c", "d"] }],
  );
});

describe("every command of the documents", () => {
  for (const { place, commands } of blocks) {
    test(`${place} parses, and names scripts, files and flags that there are`, () => {
      for (const command of commands) {
        const { status, stderr } = spawnSync("bash", ["-n", "-c", command], { encoding: "utf8" });
        assert.equal(status, 0, stderr);
        assertThatFilesExist(command);
      }
    });
  }
});

function assertThatFilesExist(command: string): void {
  const words = command
    .replace(/\s#.*$/, "")
    .split(/\s+/)
    .map((word) => word.replace("$PWD/", ""));
  for (const file of words.filter((word) => word.startsWith("deploy/"))) accessSync(file, constants.R_OK);
  const script = words.findIndex((word) => /^deploy\/podman\/[\w-]+\.sh$/.test(word));
  const name = words[script];
  if (name === undefined) return;
  accessSync(name, constants.X_OK);
  const source = readFileSync(name, "utf8");
  for (const flag of words.slice(script).filter((word) => word.startsWith("--"))) {
    const known =
      source.includes(flag) ||
      (/start-(?:podman|docker)\.sh$/.test(name) && readFileSync("deploy/podman/start.sh", "utf8").includes(flag));
    assert.ok(known, `${name} has no ${flag}`);
  }
}

describe("the documents, command by command", { skip, timeout: 600_000 }, () => {
  let environment: Readonly<Record<string, string>>;

  before(async () => {
    environment = { ...buildEnvironment, PATH: `${await makeSudo()}:${systemPath}` };
    await putAway();
  });
  after(putAway);

  for (const { place, needs, commands } of blocks.filter((block) => ["anywhere", "hardware"].includes(block.needs))) {
    test(`${place} does what it says`, { skip: needs === "hardware" && "NEEDS A GPU OR A CLUSTER" }, async () => {
      for (const command of commands) await carryOut(command, environment);
      await putAway();
    });
  }
});

async function carryOut(written: string, environment: Readonly<Record<string, string>>): Promise<void> {
  const command = filledIn(written);
  const running = asUser(["bash", "-c", command], environment);
  if (staysThere.test(command)) {
    await answers();
    await podman("stop", "--time", "45", ...(await serving()));
  }
  const { code, stdout, stderr } = await running;
  const expected = speaksOfTheHost.test(command) ? [0, 1, 3] : [0];
  assert.ok(code !== null && expected.includes(code), `${command}\nended with ${String(code)}\n${stdout}${stderr}`);
  if ((await serving()).length > 0) await answers();
}

/** The containers that can be reached where all the documents say. */
async function serving(): Promise<readonly string[]> {
  const listed = await podman("ps", "--format", "{{.Names}} {{.Ports}}");
  return listed
    .split("\n")
    .filter((line) => line.includes(":8080->"))
    .map((line) => line.split(" ")[0] ?? "");
}

/** Whatever a command has started: a reader wants to chat with it. */
async function answers(): Promise<void> {
  await until(async () => (await fetch(`${address}/health/ready`).catch(() => undefined))?.ok === true);
  using client = new LlamapodClient({ url: address, WebSocket });
  const { text } = await client.generate({ messages: [{ role: "user", content: "Hello!" }], max_tokens: 8 }).result;
  assert.notEqual(text, "");
}

/** An administrator who only tries: whether the packages exist is seen, and nothing is installed. */
async function makeSudo(): Promise<string> {
  const made = await asUser([
    "bash",
    "-c",
    `mkdir -p ~/tmp/administrator && cd ~/tmp/administrator && pwd &&
      printf '#!/bin/sh\\ncase $1 in apt-get) exec "$@" --simulate ;; *) echo "not tried: $*" >&2; exit 1 ;; esac\\n' > sudo && chmod +x sudo`,
  ]);
  return made.stdout.trim();
}

async function putAway(): Promise<void> {
  await asUser(["podman", "pod", "rm", "--force", "--ignore", "llamapod"]);
  await podman("rm", "--force", "--time", "1", "--ignore", "llamapod");
  await podman("volume", "rm", "--force", "llamapod-data");
}
