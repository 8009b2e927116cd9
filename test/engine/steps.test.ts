import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { greedy, Loaded } from "./loaded.ts";

const story = "Once upon a time there was a fox";
const longPrompt = "Rain falls on the hills and the rivers rise. ".repeat(60);

describe("the step loop", () => {
  let loaded: Loaded;
  before(async () => {
    loaded = await Loaded.family("qwen2", { slots: 2, batchSize: 64, contextSize: 1024 });
  });
  after(() => loaded[Symbol.dispose]());

  test("an answer ends with max_tokens", async () => {
    const answer = await loaded.answer(story, { maxTokens: 7 });
    assert.equal(answer.tokens.length, 7);
    assert.deepEqual(answer.ended, { outcome: "finished", id: answer.ended.id, reason: "length" });
  });

  test("an answer ends where the context does", async () => {
    const answer = await loaded.answer(longPrompt, { maxTokens: undefined });
    assert.equal(answer.promptTokens + answer.tokens.length, loaded.engine.info.contextSize);
    assert.ok(answer.ended.outcome === "finished" && answer.ended.reason === "length");
  });

  test("a prompt that fills the context is refused, with both numbers", async () => {
    const { ended } = await loaded.answer(longPrompt.repeat(3));
    assert.ok(ended.outcome === "failed" && ended.code === "context_length_exceeded");
    assert.match(ended.message, /1\d{3} tokens.*1024/);
  });

  test("more answers than slots wait for their turn, and none is lost", async () => {
    const answers = await Promise.all([1, 2, 3, 4, 5].map((number) => loaded.answer(`${story} number ${number}`)));
    for (const answer of answers) assert.equal(answer.tokens.length, 24);
    assert.deepEqual(new Set(answers.map(({ slot }) => slot)), new Set([0, 1]));
  });

  test("an answer that is cancelled while it waits is never begun", async () => {
    const others = [loaded.answer(story, { maxTokens: 20 }), loaded.answer(story, { maxTokens: 20 })];
    const waiting = loaded.answer("Never", { id: "waiting" });
    loaded.cancel("waiting");
    const { tokens, slot, ended } = await waiting;
    assert.deepEqual(
      { tokens, slot, ended },
      { tokens: [], slot: -1, ended: { outcome: "finished", id: "waiting", reason: "cancelled" } },
    );
    await Promise.all(others);
  });

  test("an answer that is cancelled while its prompt is read ends without a token, and the others go on", async () => {
    loaded.steps.length = 0;
    const isReading = () => loaded.steps.some(({ started }) => started.some(({ id }) => id === "reading"));
    const other = loaded.answer(story, { maxTokens: 60 }, () => {
      if (isReading()) loaded.cancel("reading");
    });
    const reading = await loaded.answer(`To read: ${longPrompt}`, { id: "reading" });
    assert.deepEqual(reading.tokens, []);
    assert.ok(reading.ended.outcome === "finished" && reading.ended.reason === "cancelled");
    assert.equal((await other).tokens.length, 60);
  });

  test("an answer that is cancelled while it grows ends within a step", async () => {
    const { tokens, ended } = await loaded.answer(story, { id: "growing", maxTokens: 500 }, () => loaded.cancel("growing"));
    assert.ok(tokens.length <= 2, `${tokens.length} tokens`);
    assert.ok(ended.outcome === "finished" && ended.reason === "cancelled");
  });

  test("the same seed gives the same text, alone and beside others; another seed another one", async () => {
    const sampling = { ...greedy, temperature: 1, seed: 42 };
    const alone = await loaded.answer(story, { sampling });
    const [beside] = await Promise.all([loaded.answer(story, { sampling }), loaded.answer("Beside it", { sampling })]);
    assert.equal(beside.text, alone.text);
    const other = await loaded.answer(story, { sampling: { ...sampling, seed: 43 } });
    assert.notEqual(other.text, alone.text);
  });

  test("top_k 1 is greedy", async () => {
    const expected = await loaded.answer(story);
    const topOne = await loaded.answer(story, { sampling: { ...greedy, temperature: 1, topK: 1 } });
    assert.deepEqual(topOne.tokens, expected.tokens);
  });

  test("an answer that another runner began goes on with its next token, and shows nothing twice", async () => {
    const whole = await loaded.answer(story);
    for (const cut of [1, 9, 23]) {
      const rest = await loaded.answer(story, { generated: whole.tokens.slice(0, cut) });
      assert.deepEqual([...whole.tokens.slice(0, cut), ...rest.tokens], whole.tokens);
      assert.ok(whole.text.endsWith(rest.text));
    }
  });

  test("a stop string ends an answer, and no part of it is shown", async () => {
    const whole = await loaded.answer(story, { maxTokens: 40 });
    const stop = whole.text.slice(20, 26);
    const stopped = await loaded.answer(story, { maxTokens: 40, stop: [stop] });
    assert.equal(stopped.text, whole.text.slice(0, whole.text.indexOf(stop)));
    assert.ok(stopped.ended.outcome === "finished" && stopped.ended.reason === "stop");
  });

  test("a batch holds its slots in ascending order, and one message tells of all", async () => {
    loaded.steps.length = 0;
    await Promise.all([loaded.answer(`${story} A`, { maxTokens: 30 }), loaded.answer(`${story} B`, { maxTokens: 30 })]);
    const both = loaded.steps.filter(({ outputs }) => outputs.length === 2);
    assert.ok(both.length >= 20, `${both.length} steps with both answers`);
    assert.ok(loaded.steps.every(({ outputs }) => new Set(outputs.map(({ id }) => id)).size === outputs.length));
  });
});

test("a batch holds its slots in ascending order also where the answer that came last has the first one", async () => {
  using loaded = await Loaded.family("qwen2", { slots: 2 });
  const first = loaded.answer(`${story} A`, { maxTokens: 3 });
  const long = loaded.answer(`${story} B`, { id: "long", maxTokens: 60 });
  const late = await first.then(() => loaded.answer(`${story} C`, { id: "late", maxTokens: 20 }));
  assert.deepEqual([late.slot, (await long).slot], [0, 1]);
  const both = loaded.steps.filter(({ outputs }) => outputs.length === 2 && outputs.some(({ id }) => id === "late"));
  assert.ok(both.length >= 10, `${both.length} steps with both answers`);
  for (const { outputs } of both)
    assert.deepEqual(
      outputs.map(({ id }) => id),
      ["late", "long"],
    );
});

test("conversations keep their slots, and the one that was left longest gives way", async () => {
  using loaded = await Loaded.family("llama", { slots: 2 });
  const first = await loaded.answer(`${story}. Its name was Rufus.`);
  const second = await loaded.answer("Numbers: one, two, three, four, five, six");
  assert.notEqual(first.slot, second.slot);
  const again = await loaded.answer(`${story}. Its name was Rufus.${first.text}`);
  assert.equal(again.slot, first.slot);
  const third = await loaded.answer("Something else entirely, about the sea");
  assert.equal(third.slot, second.slot);
});

test("an end-of-turn token ends an answer and is neither counted nor shown, unless it is to be ignored", async () => {
  using loaded = await Loaded.family("gpt2");
  const endings = [];
  for (let seed = 0; seed < 12; seed++) {
    const sampling = { ...greedy, temperature: 2, topK: 0, seed };
    const fields = { sampling, maxTokens: 400 };
    const [ends, goesOn] = [
      await loaded.answer(story, { ...fields, ignoreEndOfTurn: false }),
      await loaded.answer(story, { ...fields, ignoreEndOfTurn: true }),
    ];
    assert.equal(goesOn.tokens.length, 400);
    if (ends.ended.outcome !== "finished" || ends.ended.reason !== "stop") continue;
    endings.push(ends);
    assert.ok(ends.tokens.every((token) => !loaded.engine.endsGeneration(token) && token !== loaded.engine.beginToken));
    assert.ok(goesOn.text.startsWith(ends.text));
  }
  assert.ok(endings.length > 0, "no answer ended by itself");
});

test("penalties keep a model from repeating itself", async () => {
  using loaded = await Loaded.family("gemma2");
  const plain = await loaded.answer(story, { maxTokens: 200 });
  const penalized = await loaded.answer(story, { maxTokens: 200, sampling: { ...greedy, repeatPenalty: 3, presencePenalty: 2 } });
  const different = ({ tokens }: { tokens: readonly number[] }) => new Set(tokens).size;
  assert.ok(different(penalized) > different(plain), `${different(penalized)} different tokens, ${different(plain)} without`);
});
