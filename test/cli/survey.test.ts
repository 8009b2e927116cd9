import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { tinyModel } from "../fixtures/tiny-models.ts";

const program = fileURLToPath(new URL("../../src/cli/survey.js", import.meta.url));

describe("what doctor is told of a server without a container", () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "llamapod-survey-"));
    await copyFile(await tinyModel("llama"), join(folder, "llama.gguf"));
    await copyFile(await tinyModel("gpt2"), join(folder, "gpt2.gguf"));
  });
  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function survey(
    settings: Readonly<Record<string, string>>,
    ...args: readonly string[]
  ): Promise<ReadonlyMap<string, string>> {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("LLAMAPOD_"));
    const env = { ...Object.fromEntries(inherited), LLAMAPOD_GPU: "off", LLAMAPOD_MODELS_DIR: folder, ...settings };
    const child = spawn(process.execPath, [program, ...args], { env, stdio: ["ignore", "pipe", "inherit"] });
    const lines = (await text(child.stdout)).trim().split("\n");
    return new Map(lines.map((line) => [line.slice(0, line.indexOf(" ")), line.slice(line.indexOf(" ") + 1)]));
  }

  test("the backend that opens, and what the models to be loaded take together, each once", async () => {
    const one = await survey({ LLAMAPOD_MODEL: "llama" });
    assert.deepEqual([one.get("backend"), one.get("models"), one.get("folder-there")], ["cpu", "llama", "yes"]);
    const both = await survey({ LLAMAPOD_MODEL: "llama", LLAMAPOD_PRELOAD: "gpt2,llama", LLAMAPOD_PINNED: "gpt2" });
    assert.equal(both.get("models"), "llama, gpt2");
    assert.ok(Number(both.get("needed-ram")) > Number(one.get("needed-ram")));
    assert.equal((await survey({ LLAMAPOD_MEMORY_BUDGET: "1GiB" })).get("has-ram"), String(2 ** 30));
  });

  test("a model that is not here, one that there is not, and one that llama.cpp refuses; the others are counted", async () => {
    await writeFile(join(folder, "broken.gguf"), "GGUF");
    assert.match((await survey({ LLAMAPOD_PRELOAD: "qwen2.5-7b" })).get("unusable") ?? "", /^qwen2\.5-7b .*llamapod pull/);
    assert.match((await survey({ LLAMAPOD_MODEL: "nothing" })).get("unusable") ?? "", /^nothing There is no model/);
    const found = await survey({ LLAMAPOD_MODEL: "llama", LLAMAPOD_PINNED: "broken" });
    assert.match(found.get("unusable") ?? "", /^broken /);
    assert.equal(found.get("models"), "llama");
  });

  test("settings that serve refuses, from the environment and from the file", async () => {
    assert.match((await survey({ LLAMAPOD_PORT: "http" })).get("settings-problem") ?? "", /^LLAMAPOD_PORT: must be /);
    const file = join(folder, "llamapod.yaml");
    await writeFile(file, "slots: many\n");
    assert.match((await survey({}, file)).get("settings-problem") ?? "", /^slots in .*llamapod\.yaml: must be /);
  });

  test("a models folder that is made when it is needed, and one that cannot be", async () => {
    const later = await survey({ LLAMAPOD_MODELS_DIR: join(folder, "a", "b") });
    assert.deepEqual([later.get("folder-there"), later.has("folder-unwritable")], ["no", false]);
    const never = await survey({ LLAMAPOD_MODELS_DIR: join(folder, "llama.gguf", "models") });
    assert.equal(never.get("folder-unreadable"), "ENOTDIR");
  });

  const gpu = existsSync("/dev/nvidiactl") ? "THERE IS A GPU HERE, which would be used" : false;

  test("why there is no GPU, where one has to be", { skip: gpu }, async () => {
    const found = await survey({ LLAMAPOD_GPU: "required" });
    assert.match(found.get("backend-problem") ?? "", /a GPU is required and llama\.cpp found none/);
    assert.deepEqual([found.get("gpu"), found.has("backend"), found.has("unusable")], ["required", false, false]);
  });
});
