import assert from "node:assert/strict";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { FileServer } from "../support/file-server.ts";
import { serveFolder } from "../support/service.ts";

interface OperationJson {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly error: { readonly code: string; readonly message: string } | null;
}

test("POST /api/models/:id/pull: an operation, joined by a second one, after which the model answers", async () => {
  await using files = await FileServer.start();
  files.files.set("/tiny.gguf", { content: await readFile(await tinyModel("gpt2")), chunkDelayMs: 1 });
  const folder = await mkdtemp(join(tmpdir(), "llamapod-route-"));
  const models = {
    mine: { source: `${files.url}/tiny.gguf` },
    broken: { source: `${files.url}/none.gguf` },
    unreachable: { source: "oci://127.0.0.1:1/models/tiny" },
  };
  await writeFile(join(folder, "models.yaml"), JSON.stringify({ models }));
  await using service = await serveFolder(folder, {});
  const pull = async (id: string) => {
    const response = await fetch(`${service.url}/api/models/${id}/pull`, { method: "POST" });
    return { status: response.status, body: (await response.json()) as OperationJson };
  };
  const ended = async ({ id }: OperationJson) => {
    const response = await fetch(`${service.url}/api/operations/${id}`, { headers: { Accept: "text/event-stream" } });
    const last = (await response.text()).trim().split("\n\n").at(-1) ?? "";
    return JSON.parse(last.replace(/^data: /, "")) as OperationJson;
  };

  const first = await pull("mine");
  assert.deepEqual([first.status, first.body.kind], [202, "pull"]);
  assert.equal((await pull("mine")).body.id, first.body.id);
  assert.equal((await ended(first.body)).state, "done");
  const answer = await fetch(`${service.url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model: "mine", prompt: "x", max_tokens: 1 }),
  });
  assert.equal(answer.status, 200);

  const failed = await ended((await pull("broken")).body);
  assert.deepEqual([failed.state, failed.error?.code], ["failed", "pull_failed"]);
  assert.match(failed.error?.message ?? "", /none\.gguf/);
  const unreachable = await ended((await pull("unreachable")).body);
  assert.match(unreachable.error?.message ?? "", /127\.0\.0\.1:1 cannot be reached/);
  for (const name of ["unknown", encodeURIComponent(`${files.url}/tiny.gguf`)]) assert.equal((await pull(name)).status, 404);
});
