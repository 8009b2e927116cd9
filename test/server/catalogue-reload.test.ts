import assert from "node:assert/strict";
import { copyFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { runnersOf, until } from "../support/processes.ts";
import { modelsFolder, serveFolder } from "../support/service.ts";
import { greedy, StreamClient } from "../support/stream-client.ts";

const tokens = 600;

/** What /api/models says of each model. */
async function listed(url: string): Promise<ReadonlyMap<string, Readonly<Record<string, unknown>>>> {
  const { models } = (await (await fetch(`${url}/api/models`)).json()) as { models: Readonly<Record<string, unknown>>[] };
  return new Map(models.map((model) => [String(model["id"]), model]));
}

test("the folder and models.yaml change under running streams: these are whole, and only what has changed is touched", async () => {
  const [llama, gpt2] = [await tinyModel("llama"), await tinyModel("gpt2")];
  const folder = await modelsFolder({ llama, leaves: gpt2, stays: gpt2 });
  await using service = await serveFolder(folder, { model: "llama" });
  using client = await StreamClient.connect(service.url);
  const expected = (await client.generate(greedy("alone", tokens))).text;
  const runners = runnersOf(process.pid);
  const changes: Readonly<Record<string, () => Promise<unknown>>> = {
    "a file comes": async () => {
      await copyFile(gpt2, join(folder, "comes.gguf"));
      await until(async () => (await listed(service.url)).has("comes"));
    },
    "a file goes": async () => {
      await rm(join(folder, "leaves.gguf"));
      await until(async () => !(await listed(service.url)).has("leaves"));
    },
    "the file that computes is replaced": async () => {
      await copyFile(gpt2, join(folder, ".new"));
      await rename(join(folder, ".new"), join(folder, "llama.gguf"));
      const size = async () => (await listed(service.url)).get("llama")?.["size_bytes"];
      const before = await size();
      await until(async () => (await size()) !== before);
    },
    "definitions change": async () => {
      await writeFile(join(folder, "models.yaml"), "models: {llama: {aliases: [mine]}}");
      await until(async () => JSON.stringify((await listed(service.url)).get("llama")?.["aliases"]).includes("mine"));
    },
    "models.yaml breaks": async () => {
      await writeFile(join(folder, "models.yaml"), "models: [no, mapping]");
      await until(async () => (await (await fetch(`${service.url}/metrics`)).text()).includes("last_reload_successful 0"));
    },
  };
  for (const [what, change] of Object.entries(changes)) {
    const before = await listed(service.url);
    const seen = change().then(() => true);
    for (let round = 0; round === 0 || !(await Promise.race([seen, Promise.resolve(false)])); round++) {
      const { text, done } = await client.generate(greedy(`${what.replaceAll(/\W/g, "-")}-${round}`, tokens));
      assert.equal(text, expected, what);
      assert.equal(done.timings.interruptions, 0, what);
    }
    const after = await listed(service.url);
    assert.deepEqual(after.get("stays"), before.get("stays"), what);
  }
  assert.deepEqual(runnersOf(process.pid), runners, "nothing was loaded anew");
  assert.equal((await listed(service.url)).get("llama")?.["state"], "ready");
});
