import assert from "node:assert/strict";
import { readFile, truncate, writeFile, copyFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { sample, scrape } from "../support/metrics.ts";
import { until } from "../support/processes.ts";
import { modelsFolder, serveFolder } from "../support/service.ts";

interface ListedModel {
  readonly id: string;
  readonly state: string;
  readonly active: boolean;
  readonly size_bytes: number;
  readonly reason?: string;
}

test("files that are no models are listed with the reason, and the others are served", async () => {
  const path = await tinyModel("gpt2");
  const folder = await modelsFolder({ "Good-One": path });
  await writeFile(join(folder, "diary.gguf"), "Dear diary, today I was mistaken for a model.\n");
  await copyFile(path, join(folder, "partial.gguf"));
  await truncate(join(folder, "partial.gguf"), 300_000);
  await writeFile(join(folder, "empty.gguf"), "");
  await writeFile(join(folder, "readme.txt"), "not listed");
  await using service = await serveFolder(folder, {});

  const { models } = (await (await fetch(`${service.url}/api/models`)).json()) as { models: ListedModel[] };
  const byId = new Map(models.map((model) => [model.id, model]));
  assert.deepEqual([...byId.keys()].sort(), ["diary", "empty", "good-one", "partial"]);
  assert.deepEqual([byId.get("good-one")?.state, byId.get("good-one")?.active], ["ready", true]);
  assert.equal(byId.get("good-one")?.size_bytes, (await readFile(path)).length);
  const reasons = { diary: /does not begin with the letters GGUF/, partial: /incomplete/, empty: /incomplete/ };
  for (const [id, reason] of Object.entries(reasons)) {
    assert.equal(byId.get(id)?.state, "invalid");
    assert.match(byId.get(id)?.reason ?? "", reason);
    const refused = await complete(service.url, id);
    assert.equal(refused.status, 422);
    assert.equal(refused.body.error?.code, "model_file_invalid");
    assert.match(refused.body.error.message, reason);
  }
  assert.equal((await complete(service.url, "good-one")).status, 200);
  assert.equal((await complete(service.url, "GOOD-ONE")).status, 200);
  const listed = (await (await fetch(`${service.url}/v1/models`)).json()) as { data: { id: string }[] };
  assert.deepEqual(
    listed.data.map(({ id }) => id),
    ["good-one"],
  );
});

test("the metrics tell whether models.yaml can be used, and when it last could", async () => {
  const folder = await modelsFolder({ gpt2: await tinyModel("gpt2") });
  await using service = await serveFolder(folder, {});
  const reading = async () => {
    const scraped = await scrape(service.url);
    return {
      isUsable: sample(scraped, "llamapod_config_last_reload_successful") === 1,
      at: sample(scraped, "llamapod_config_last_reload_success_timestamp_seconds"),
    };
  };
  const first = await reading();
  assert.ok(first.isUsable);
  assert.ok(Math.abs(Date.now() / 1_000 - first.at) < 3_600, "seconds of Unix time");
  await writeFile(join(folder, "models.yaml"), "models: [not, a, mapping]");
  await until(async () => !(await reading()).isUsable);
  const { at } = await reading();
  await writeFile(join(folder, "models.yaml"), "models: {}");
  await until(async () => (await reading()).isUsable);
  assert.ok((await reading()).at > at, "it was read anew");
});

test("an empty folder: the server runs, is not ready, and says what is missing", async () => {
  await using service = await serveFolder(await modelsFolder({}), {});
  assert.equal((await fetch(`${service.url}/health/live`)).status, 200);
  assert.equal((await fetch(`${service.url}/health/startup`)).status, 503);
  const ready = await fetch(`${service.url}/health/ready`);
  assert.equal(ready.status, 503);
  assert.deepEqual(await ready.json(), { status: "no model", reason: "the models folder holds no usable GGUF file" });
  const refused = await complete(service.url, undefined);
  assert.deepEqual([refused.status, refused.body.error?.code], [404, "model_not_found"]);
  assert.match(refused.body.error?.message ?? "", /models folder/);
});

test("a file that comes while the server runs can be asked for by name", async () => {
  const folder = await modelsFolder({});
  await using service = await serveFolder(folder, {});
  await copyFile(await tinyModel("gpt2"), join(folder, "late.gguf"));
  assert.equal((await complete(service.url, "late")).status, 200);
});

test("a file that was incomplete and is whole now can be used", async () => {
  const path = await tinyModel("gpt2");
  const folder = await modelsFolder({});
  const growing = join(folder, "growing.gguf");
  await writeFile(growing, (await readFile(path)).subarray(0, 100_000));
  await using service = await serveFolder(folder, {});
  assert.equal((await complete(service.url, "growing")).status, 422);
  await copyFile(path, growing);
  assert.equal((await complete(service.url, "growing")).status, 200);
});

async function complete(url: string, model: string | undefined) {
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model, prompt: "x", max_tokens: 1 }),
  });
  return {
    status: response.status,
    body: (await response.json()) as { readonly error?: { readonly code: string; readonly message: string } },
  };
}
