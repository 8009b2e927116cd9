import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Estimates } from "../../src/models/memory/estimates.ts";
import { readGgufHeader, metadataString, vocabularySize } from "../../src/models/gguf/header.ts";
import { RunnerFailure, RunnerProcess } from "../../src/models/runner-process.ts";
import type { LoadCommand } from "../../src/protocol/runner.ts";
import { families, tinyModel } from "../fixtures/tiny-models.ts";
import { silent } from "../support/service.ts";

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
    const taken = await runner.measure();
    const difference = Math.abs(estimated - taken);
    assert.ok(difference <= Math.max(taken / 10, heapNoise), `estimated ${mebibytes(estimated)}, taken ${mebibytes(taken)}`);
  });
}

test("an estimate of a file that llama.cpp refuses says why", async () => {
  const runner = new TestRunner();
  const estimate = runner.process.estimate({ type: "estimate", path: "/dev/null", ...settings, vocabularySize: 0 });
  await assert.rejects(estimate, (thrown) => thrown instanceof RunnerFailure && thrown.refused);
});

class TestRunner {
  readonly process: RunnerProcess;
  readonly #events = new EventTarget();

  constructor() {
    this.process = new RunnerProcess({ gpu: "off", threads: 1 }, silent, this.#observer);
  }

  get #observer() {
    return {
      stateChanged: () => this.#events.dispatchEvent(new Event("change")),
      stepped: () => undefined,
      beat: () => undefined,
    };
  }

  async load(command: LoadCommand): Promise<void> {
    this.process.load("tiny", command, this.#observer);
    while (this.process.state.name !== "ready") await once(this.#events, "change");
  }

  /** Its own memory, and the weights that it reads from the mapped file. */
  async measure(): Promise<number> {
    const { pid } = this.process;
    const own = kilobytes("RssAnon", await readFile(`/proc/${pid}/status`, "latin1"));
    const mapped = (await readFile(`/proc/${pid}/smaps`, "latin1"))
      .split(/^(?=[\da-f]+-[\da-f]+ )/m)
      .filter((part) => part.split("\n")[0]?.endsWith(".gguf") === true)
      .reduce((sum, part) => sum + kilobytes("Rss", part), 0);
    return (own + mapped) * 1_024;
  }
}

function kilobytes(name: string, text: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? assert.fail(`no ${name}`));
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
