import assert from "node:assert/strict";
import { test } from "node:test";
import { metadataString, readGgufHeader, vocabularySize } from "../../src/models/gguf/header.ts";
import { RunnerProcess, type RunnerObserver } from "../../src/models/runner-process.ts";
import { greedy, Loaded } from "../engine/loaded.ts";
import { tinyModel, type Family } from "../fixtures/tiny-models.ts";
import { cpuOnly, silent } from "../support/service.ts";

const prompts = ["The quick brown fox", "Once upon a time", "It was a dark and stormy night; the rain fell in torrents"];
const maxTokens = 24;

/** What a runner answers all of the prompts with, at once. */
async function answersOfRunner(family: Family): Promise<number[][]> {
  const answers: number[][] = prompts.map(() => []);
  const path = await tinyModel(family);
  const header = await readGgufHeader(path);
  const template = metadataString(header, "tokenizer.chat_template");
  const settings = { contextSize: 512, slots: prompts.length, batchSize: 512, vocabularySize: vocabularySize(header) };
  return new Promise((resolve, reject) => {
    let open = prompts.length;
    const ask = (runner: RunnerProcess): void => {
      for (const [index, text] of prompts.entries()) {
        const id = String(index);
        const prompt = { kind: "text" as const, text };
        const rest = { sampling: greedy, maxTokens, stop: [], ignoreEndOfTurn: true, generated: [] };
        runner.send({ type: "generate", requestId: id, cacheScope: "", id, prompt, ...rest });
      }
    };
    const observer: RunnerObserver = {
      stateChanged: (changed) => {
        if (changed.state.name === "ready") ask(changed);
        if (changed.state.name === "failed") reject(new Error(changed.state.cause));
      },
      stepped: (runner, step) => {
        for (const { id, tokens } of step.outputs) answers[Number(id)]?.push(...tokens);
        open -= step.ended.length;
        if (open === 0) runner.stop(10_000).then(() => resolve(answers), reject);
      },
      beat: () => undefined,
      sawVideoMemory: () => undefined,
    };
    const runner = new RunnerProcess(cpuOnly, silent, observer);
    runner.load("tiny", { type: "load", path, ...settings, template }, observer);
  });
}

/** What the engine answers each of them with, alone, waiting for every batch before it samples. */
async function answersOfEngine(family: Family): Promise<number[][]> {
  using loaded = await Loaded.family(family, { contextSize: 512 });
  const answers: number[][] = [];
  for (const prompt of prompts) answers.push([...(await loaded.answer(prompt, { maxTokens })).tokens]);
  return answers;
}

// Of these the rounding does not depend on what else is in a batch.
for (const family of ["qwen2", "llama"] as const) {
  test(`${family}: sampling that is asked for before its batch is computed gives the same tokens`, async () => {
    assert.deepEqual(await answersOfRunner(family), await answersOfEngine(family));
  });
}
