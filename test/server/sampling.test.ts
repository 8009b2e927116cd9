import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { z } from "zod";
import { startService, type RunningService } from "../support/service.ts";

const completion = z.object({ choices: z.array(z.object({ text: z.string() })).length(1) });
const refusal = z.object({ error: z.object({ param: z.string() }) });

/** So hot that every token has a chance, however unlikely. */
const hot = 5;
const seeds = [1, 2, 3];

describe("sampling, as a request asks for it", () => {
  let service: RunningService;

  before(async () => {
    service = await startService(["gpt2"]);
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  function ask(fields: object): Promise<Response> {
    const body = JSON.stringify({ model: "gpt2", prompt: "Once upon a time", max_tokens: 32, ...fields });
    return fetch(`${service.url}/v1/completions`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  }

  async function textOf(fields: object): Promise<string> {
    return completion.parse(await (await ask(fields)).json()).choices[0]?.text ?? "";
  }

  /** @returns the different texts of one token that so many seeds give */
  async function firstTokens(fields: object): Promise<Set<string>> {
    const texts = new Set<string>();
    for (let seed = 0; seed < 40; seed++) texts.add(await textOf({ temperature: hot, seed, max_tokens: 1, ...fields }));
    return texts;
  }

  const greedy = () => textOf({ temperature: 0 });

  test("a high temperature gives each seed another text, and the same one again", async () => {
    const texts = await Promise.all([...seeds, ...seeds].map((seed) => textOf({ temperature: hot, seed })));
    assert.equal(new Set([await greedy(), ...texts]).size, 1 + seeds.length);
  });

  test("the greatest seed is one like any other", async () => {
    const [first, second] = [
      await textOf({ temperature: hot, seed: 0xffff_ffff }),
      await textOf({ temperature: hot, seed: 0xffff_ffff }),
    ];
    assert.equal(first, second);
  });

  test("without a seed each answer is another one", async () => {
    const texts = [await textOf({ temperature: hot }), await textOf({ temperature: hot })];
    assert.equal(new Set(texts).size, 2);
  });

  const narrow = [
    { what: "top_k 1", fields: { top_k: 1 } },
    { what: "a top_p below the likeliest token", fields: { top_p: 1e-6 } },
    { what: "min_p 1", fields: { min_p: 1 } },
  ];
  for (const { what, fields } of narrow) {
    test(`${what} leaves the likeliest token only, at any temperature and seed`, async () => {
      for (const seed of seeds) assert.equal(await textOf({ temperature: hot, seed, ...fields }), await greedy());
    });
  }

  test("top_k 0, top_p 1 and min_p 0 leave all of them", async () => {
    const all = { temperature: hot, seed: 1, top_k: 0, top_p: 1, min_p: 0 };
    assert.notEqual(await textOf(all), await greedy());
    assert.ok((await firstTokens({ top_k: 0, top_p: 1, min_p: 0 })).size > 10);
  });

  test("top_k 3 leaves three", async () => {
    assert.equal((await firstTokens({ top_k: 3, top_p: 1, min_p: 0 })).size, 3);
  });

  test("a frequency_penalty takes a word that comes again and again out of the text, a presence_penalty does not", async () => {
    // Below 1 it makes what was said likelier.
    const repeating = { temperature: 0, max_tokens: 48, repeat_penalty: 0.3 };
    const word = mostOften(await textOf(repeating)).word;
    const laterHalf = async (fields: object) => {
      const text = await textOf({ ...repeating, ...fields });
      return text.slice(text.length / 2).split(" ");
    };
    assert.ok((await laterHalf({})).includes(word), word);
    assert.ok((await laterHalf({ presence_penalty: 2 })).includes(word), word);
    assert.ok(!(await laterHalf({ frequency_penalty: 2 })).includes(word), word);
  });

  test("a negative frequency_penalty makes a text repeat itself, as each time makes the next one likelier", async () => {
    const fields = { temperature: 0, max_tokens: 48 };
    const times = async (penalties: object) => mostOften(await textOf({ ...fields, ...penalties })).times;
    assert.ok((await times({ frequency_penalty: -2 })) > 20);
    assert.ok((await times({ presence_penalty: -2 })) < 10);
    assert.ok((await times({})) < 10);
  });

  const outOfRange = [
    { temperature: -0.1 },
    { top_p: -0.1 },
    { top_p: 0 },
    { top_k: -1 },
    { min_p: -0.1 },
    { repeat_penalty: -1 },
    { frequency_penalty: -2.1 },
    { presence_penalty: -2.1 },
    { seed: -1 },
    { max_tokens: -1 },
  ];
  for (const fields of outOfRange) {
    test(`${JSON.stringify(fields)} is refused, and named`, async () => {
      const response = await ask(fields);
      assert.equal(response.status, 400);
      assert.deepEqual(Object.keys(fields), [refusal.parse(await response.json()).error.param]);
    });
  }
});

/** @returns the word that stands in the text most often */
function mostOften(text: string): { readonly word: string; readonly times: number } {
  const counts = new Map<string, number>();
  for (const word of text.split(" ")) counts.set(word, (counts.get(word) ?? 0) + 1);
  const [word = "", times = 0] = [...counts].sort(([, a], [, b]) => b - a)[0] ?? [];
  return { word, times };
}
