import assert from "node:assert/strict";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { readGgufHeader } from "../../src/models/gguf/header.ts";
import { Estimates } from "../../src/models/memory/estimates.ts";
import { planObject } from "../../src/protocol/operator.ts";
import { layOut } from "../fixtures/gguf-header.ts";
import { writeGguf, writeHollowGguf } from "../fixtures/gguf-writer.ts";
import { published, publishedNames, type PublishedModel, type PublishedName } from "../fixtures/shapes/published.ts";
import { shapeFile } from "../fixtures/shapes/shape-file.ts";
import { shapeModel } from "../fixtures/shapes/shape-model.ts";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { runnersOf } from "../support/processes.ts";
import { forgetReads, residentMemory } from "../support/runner-memory.ts";
import { modelsFolder, serveFolder } from "../support/service.ts";
import { StreamClient, greedy } from "../support/stream-client.ts";
import { TestRunner } from "../support/test-runner.ts";

/** The six models of the catalogue, with random weights: each loads, answers, and takes what was estimated. */

const slow = process.env["SLOW_TESTS"] === "1" ? false : "21 GB of models, and minutes for each: set SLOW_TESTS=1";

/** What a runner has beside weights and cache: Node.js, the vocabulary, what a batch is computed in. */
const processAndBuffers = 512 * 2 ** 20;

/** One thin layer, and the whole vocabulary. */
function miniature(model: PublishedModel): PublishedModel {
  const heads = 2;
  const [width, keyValueHeads] = [256, model.family === "gpt2" ? heads : 1];
  return { ...model, layers: 1, width, heads, keyValueHeads, headWidth: width / heads, feedForward: 512 };
}

describe("the six models' shapes", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "llamapod-shapes-"));
  });
  after(() => rm(folder, { recursive: true }));

  for (const name of publishedNames) {
    test(`${name} has as many weights as its authors say`, async () => {
      const { tensors } = await shapeFile(published[name], "Q4_0");
      const weights = tensors.map(({ shape }) => shape.reduce((product, length) => product * length, 1));
      assert.equal(
        weights.reduce((sum, count) => sum + count, 0),
        published[name].parameters,
      );
    });

    test(`${name} in full is what llama.cpp expects, and the estimate has room for all of it`, async (context) => {
      const path = join(folder, `${name}-hollow.gguf`);
      const file = await shapeFile(published[name], "Q4_0");
      await writeHollowGguf(path, file);
      const settings = { contextSize: 2_048, slots: 1, batchSize: 512 };
      const runner = new TestRunner();
      context.after(() => runner.process.stop(10_000));
      const estimates = new Estimates(settings, (command) => runner.process.estimate(command));
      const { ram } = await estimates.request({ path, header: await readGgufHeader(path), definition: {} });
      const { size } = await stat(path);
      const { layers, keyValueHeads, headWidth } = published[name];
      const cache = 2 * layers * keyValueHeads * headWidth * settings.contextSize * Uint16Array.BYTES_PER_ELEMENT;
      const rest = ram - size - cache;
      const [embeddings] = layOut(file.tensors.filter(({ name }) => name === "token_embd.weight")).placed;
      // Where one matrix serves both ends, a processor with AMX has it twice: only for the output in its own order.
      const copied = published[name].tied ? (embeddings?.bytes ?? 0) : 0;
      assert.ok(rest > 0 && rest < processAndBuffers + copied, `${rest} bytes beside the file and the cache`);
    });

    test(`${name} in full answers, and takes what was estimated, within a tenth`, { skip: slow }, () => answersInFull(name));
  }

  // Those whose vocabulary is made up; the others' layout and vocabulary are the tiny models'.
  for (const name of ["gemma2-9b", "gpt-sw3-6.7b"] as const) {
    test(`${name} with one thin layer, but its whole vocabulary, answers in its own chat format`, async () => {
      const path = join(folder, `${name}-thin.gguf`);
      await writeGguf(path, await shapeFile(miniature(published[name]), "Q4_0"));
      await using service = await serveFolder(await modelsFolder({ thin: path }), { model: "thin", slots: 1 });
      using client = await StreamClient.connect(service.url);
      const first = await client.generate(greedy("first", 12, "Tell me a story."));
      const second = await client.generate(greedy("second", 12, "What is the capital of Sweden?"));
      assert.equal(first.tokens, 12);
      assert.notEqual(first.text, second.text);
    });
  }
});

async function answersInFull(name: PublishedName): Promise<void> {
  const models = { small: await tinyModel("llama"), large: await shapeModel(name, "Q4_0") };
  await using service = await serveFolder(await modelsFolder(models), { model: "small", maxResident: 1, slots: 1 });
  const response = await fetch(`${service.url}/api/models/large/plan`, { method: "POST" });
  const { needed } = planObject.parse(await response.json());
  using client = await StreamClient.connect(service.url);
  await client.generate({ ...greedy("first", 1), model: "large" });
  const [pid, ...others] = runnersOf(process.pid);
  assert.ok(pid !== undefined && others.length === 0);
  await forgetReads(pid);
  const answer = await client.generate({ ...greedy("answer", 8), model: "large" });
  assert.equal(answer.tokens, 8);
  const { own, read } = await residentMemory(pid);
  const ratio = needed.ram_bytes / (own + read);
  assert.ok(Math.abs(ratio - 1) <= 0.1, `estimated ${needed.ram_bytes}, taken ${own} and ${read} of the file: ${ratio}`);
}
