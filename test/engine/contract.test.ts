import assert from "node:assert/strict";
import { test } from "node:test";
import { getLlama, type Token } from "node-llama-cpp";
import { families, tinyModel, type Family } from "../fixtures/tiny-models.ts";
import { Loaded } from "./loaded.ts";

const prompt = "The quick brown fox jumps over the lazy dog, and then";
const length = 24;

/** What node-llama-cpp's public API makes of the same prompt. */
async function publicAnswer(family: Family, text: string): Promise<Token[]> {
  const llama = await getLlama({ gpu: false, build: "never", maxThreads: 1, progressLogs: false, logger: () => undefined });
  const model = await llama.loadModel({ modelPath: await tinyModel(family) });
  // As llama.cpp itself decides; node-llama-cpp still turns it off for Gemma 2, and rounding differs without it.
  const context = await model.createContext({ contextSize: 512, sequences: 1, flashAttention: true });
  const begin = model.tokens.shouldPrependBosToken && model.tokens.bos !== null ? [model.tokens.bos] : [];
  const answer: Token[] = [];
  const prompted = [...begin, ...model.tokenize(text, true)];
  for await (const token of context.getSequence().evaluate(prompted, { temperature: 0, yieldEogToken: true })) {
    answer.push(token);
    if (answer.length === length) break;
  }
  await model.dispose();
  return answer;
}

for (const family of families) {
  test(`${family}: greedy tokens are those of the public evaluate()`, async () => {
    const expected = await publicAnswer(family, prompt);
    using loaded = await Loaded.family(family);
    assert.deepEqual((await loaded.answer(prompt, { maxTokens: length })).tokens, expected);
  });
}

test("a prompt that is read in pieces, beside other answers, changes nothing", async () => {
  const expected = await publicAnswer("llama", prompt);
  using loaded = await Loaded.family("llama", { batchSize: 5 });
  const [answer] = await Promise.all([
    loaded.answer(prompt, { maxTokens: length }),
    loaded.answer("Once upon a time", { maxTokens: 40 }),
    loaded.answer("It was a dark and stormy night; the rain fell in torrents", { maxTokens: 40 }),
  ]);
  assert.deepEqual(answer.tokens, expected);
});

test("a conversation that goes on reuses its beginning, with the same outcome", async () => {
  using fresh = await Loaded.family("qwen2");
  using warm = await Loaded.family("qwen2");
  const first = await warm.answer(prompt);
  const longer = `${prompt}${first.text} Then what?`;
  const continued = await warm.answer(longer);
  assert.ok(continued.cachedTokens >= first.promptTokens, `${continued.cachedTokens} of ${first.promptTokens} tokens reused`);
  assert.deepEqual(continued.tokens, (await fresh.answer(longer)).tokens);
});
