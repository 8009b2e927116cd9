import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Catalogue } from "../../src/models/catalogue.ts";
import { Pulls } from "../../src/models/download/pulls.ts";
import { Operations } from "../../src/models/operations.ts";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { FileServer } from "../support/file-server.ts";
import { silent } from "../support/service.ts";

test("a pull that is asked for while a cancelled one stops is a new one, and is joined in its turn", async () => {
  await using server = await FileServer.start();
  const content = await readFile(await tinyModel("gpt2"));
  server.files.set("/tiny.gguf", { content, chunkDelayMs: 5 });
  const folder = await mkdtemp(join(tmpdir(), "llamapod-pulls-"));
  await writeFile(join(folder, "models.yaml"), JSON.stringify({ models: { mine: { source: `${server.url}/tiny.gguf` } } }));
  const catalogue = new Catalogue([{ folder, isBuiltIn: false }], silent);
  await catalogue.scan();
  const pulls = new Pulls(catalogue, new Operations(), folder, silent);

  const first = pulls.begin("mine");
  await new Promise<void>((resolve) => {
    first.onChange(({ progress }) => {
      if (progress?.phase === "downloading") resolve();
    });
  });
  first.cancel();
  const second = pulls.begin("mine");
  assert.notEqual(second, first);
  assert.equal((await first.ended).state, "cancelled");
  assert.equal(pulls.begin("mine"), second);
  assert.equal((await second.ended).state, "done");
  assert.ok((await readFile(join(folder, "tiny.gguf"))).equals(content));
  await rm(folder, { recursive: true });
});
