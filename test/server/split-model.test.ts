import assert from "node:assert/strict";
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { writeGguf } from "../fixtures/gguf-writer.ts";
import { splitModel } from "../fixtures/split-model.ts";
import { tinyModel, tinyModelFile } from "../fixtures/tiny-models.ts";
import { modelsFolder, serveFolder } from "../support/service.ts";

test("a model in three files is one model, and answers as the whole one does", async () => {
  const folder = await modelsFolder({ whole: await tinyModel("gpt2") });
  const parts = splitModel("Parted", await tinyModelFile("gpt2"), 3);
  for (const [name, part] of parts) await writeGguf(join(folder, name), part);
  const sizes = await Promise.all([...parts.keys()].map(async (name) => (await stat(join(folder, name))).size));
  await using service = await serveFolder(folder, { model: "parted" });

  const { models } = (await (await fetch(`${service.url}/api/models`)).json()) as { models: ListedModel[] };
  assert.deepEqual(
    models.map(({ id }) => id),
    ["parted", "whole"],
  );
  const listed = models.find(({ id }) => id === "parted");
  assert.equal(listed?.state, "ready");
  assert.equal(
    listed.size_bytes,
    sizes.reduce((sum, size) => sum + size),
  );
  const [parted, whole] = await Promise.all([complete(service.url, "parted"), complete(service.url, "whole")]);
  assert.equal(parted.status, 200);
  assert.notEqual(parted.text, "");
  assert.equal(parted.text, whole.text);
});

test("a part that is missing is named, and the model can be used when it has come", async () => {
  const folder = await modelsFolder({ other: await tinyModel("gpt2") });
  const parts = splitModel("parted", await tinyModelFile("gpt2"), 2);
  for (const [name, part] of parts) await writeGguf(join(folder, name), part);
  await rm(join(folder, "parted-00002-of-00002.gguf"));
  await using service = await serveFolder(folder, { model: "other" });

  const refused = await complete(service.url, "parted");
  assert.deepEqual([refused.status, refused.error?.code], [422, "model_file_invalid"]);
  assert.match(refused.error?.message ?? "", /^parted-00002-of-00002\.gguf is missing/);
  for (const [name, part] of parts) await writeGguf(join(folder, name), part);
  assert.equal((await complete(service.url, "parted")).status, 200);
});

interface ListedModel {
  readonly id: string;
  readonly state: string;
  readonly size_bytes: number;
}

async function complete(url: string, model: string) {
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model, prompt: "Once upon a time", max_tokens: 12, temperature: 0 }),
  });
  const { choices, error } = (await response.json()) as {
    readonly choices?: readonly { readonly text: string }[];
    readonly error?: { readonly code: string; readonly message: string };
  };
  return { status: response.status, text: choices?.[0]?.text, error };
}
