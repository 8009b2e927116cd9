import assert from "node:assert/strict";
import { test } from "node:test";
import { Estimates } from "../../src/models/memory/estimates.ts";
import { readGgufHeader, metadataString, vocabularySize } from "../../src/models/gguf/header.ts";
import { RunnerFailure } from "../../src/models/runner-process.ts";
import type { LoadCommand } from "../../src/protocol/runner.ts";
import { families, tinyModel } from "../fixtures/tiny-models.ts";
import { TestRunner } from "../support/test-runner.ts";

const settings = { contextSize: 4_096, slots: 4, batchSize: 512 };

/** By how much a process of Node.js differs from one time to the next, in pages of 2 MiB: much, beside a model of some MiB. */
const heapNoise = 16 * 2 ** 20;

for (const family of families) {
  test(`${family}: the estimate is what the model then takes, within a tenth`, async (context) => {
    const path = await tinyModel(family);
    const header = await readGgufHeader(path);
    const load: LoadCommand = {
      type: "load",
      path,
      ...settings,
      vocabularySize: vocabularySize(header),
      template: metadataString(header, "tokenizer.chat_template"),
    };
    const runner = new TestRunner();
    context.after(() => runner.process.stop(10_000));
    const estimates = new Estimates(settings, (command) => runner.process.estimate(command));
    const entry = { path, header, definition: {} };
    const { ram: estimated } = await estimates.request(entry);
    assert.deepEqual(estimates.get(entry), { ram: estimated, vram: 0 });
    await runner.load(load);
    const taken = await runner.residentBytes();
    const difference = Math.abs(estimated - taken);
    assert.ok(difference <= Math.max(taken / 10, heapNoise), `estimated ${mebibytes(estimated)}, taken ${mebibytes(taken)}`);
  });
}

test("an estimate of a file that llama.cpp refuses says why", async () => {
  const runner = new TestRunner();
  const estimate = runner.process.estimate({ type: "estimate", path: "/dev/null", ...settings, vocabularySize: 0, fileBytes: 0 });
  await assert.rejects(estimate, (thrown) => thrown instanceof RunnerFailure && thrown.refused);
});

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
