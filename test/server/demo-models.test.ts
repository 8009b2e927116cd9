import assert from "node:assert/strict";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { pino } from "pino";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { modelsFolder, serveFolder } from "../support/service.ts";

interface ListedModel {
  readonly id: string;
  readonly state: string;
  readonly active: boolean;
  readonly built_in: boolean;
  readonly size_bytes: number;
}

const demos = { demoModels: true };

test("without a model of one's own the demo answers, and both demos are listed as built in", async () => {
  const lines: string[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => lines.push(line) });
  await using service = await serveFolder(await modelsFolder({}), demos, log);
  assert.match(lines.join(""), /built-in demo model.*llamapod pull qwen2\.5-0\.5b/, "the log says so, and what to do next");
  assert.equal((await fetch(`${service.url}/health/ready`)).status, 200);
  const models = await listed(service.url);
  assert.deepEqual(
    models.map(({ id, active, built_in }) => [id, active, built_in]),
    [
      ["llamapod-demo", true, true],
      ["llamapod-demo-sv", false, true],
    ],
  );
  const sizes = new Map(models.map(({ id, size_bytes }) => [id, size_bytes]));
  assert.ok((sizes.get("llamapod-demo") ?? Infinity) <= 8_000_000);
  assert.ok((sizes.get("llamapod-demo-sv") ?? Infinity) <= 4_000_000);
});

test("a model of one's own is the active one, whatever its name", async () => {
  await using service = await serveFolder(await modelsFolder({ zebra: await tinyModel("gpt2") }), demos);
  const active = (await listed(service.url)).find((model) => model.active);
  assert.deepEqual([active?.id, active?.built_in], ["zebra", false]);
});

test("a file of one's own with a demo's name takes its place, also while the server runs", async () => {
  const folder = await modelsFolder({ mine: await tinyModel("llama") });
  await using service = await serveFolder(folder, demos);
  await copyFile(await tinyModel("gpt2"), join(folder, "llamapod-demo-sv.gguf"));
  // A name that is not known makes it look.
  await fetch(`${service.url}/v1/models/something-else`);
  const model = (await listed(service.url)).find(({ id }) => id === "llamapod-demo-sv");
  assert.equal(model?.built_in, false);
});

async function listed(url: string): Promise<ListedModel[]> {
  const { models } = (await (await fetch(`${url}/api/models`)).json()) as { models: ListedModel[] };
  return models;
}
