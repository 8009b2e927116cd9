import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { getLlama, LlamaGrammarEvaluationState, type Token } from "node-llama-cpp";
import { objectGrammar, schemaGrammar } from "../../src/models/runner/grammar/schema-grammar.ts";
import type { AnswerFormat } from "../../src/protocol/request.ts";
import { families, tinyModel, type Family } from "../fixtures/tiny-models.ts";
import { greedy, Loaded } from "./loaded.ts";

const schema = {
  type: "object",
  properties: {
    name: { type: "string", maxLength: 6 },
    kind: { enum: ["llama", "vicuña"] },
    wool: { type: "number", minimum: 0, maximum: 12.5 },
    herd: { type: "array", items: { $ref: "#/$defs/animal" }, maxItems: 1 },
  },
  required: ["name", "kind", "wool", "herd"],
  additionalProperties: false,
  $defs: { animal: { type: "object", properties: { tame: { type: "boolean" } }, required: ["tame"] } },
};
const format: AnswerFormat = { kind: "schema", schema, field: "response_format" };
const prompt = "Describe a herd, please:";
const long = { maxTokens: 300, format, ignoreEndOfTurn: false };

const validate = new Ajv2020({ strict: false, validateFormats: false }).compile(schema);

function assertValid(text: string): void {
  assert.ok(validate(JSON.parse(text)), `${text}: ${JSON.stringify(validate.errors)}`);
}

for (const family of families) {
  test(`${family}: random weights write what satisfies the schema; greedy tokens are those of the public evaluate()`, async () => {
    using loaded = await Loaded.family(family);
    const sampled = { ...greedy, temperature: 1.2, seed: 1 };
    const answers = await Promise.all([greedy, sampled].map((sampling) => loaded.answer(prompt, { ...long, sampling })));
    for (const { text, ended } of answers) {
      assert.deepEqual([ended.outcome, "reason" in ended && ended.reason], ["finished", "stop"], text);
      assertValid(text);
    }
    assert.deepEqual(answers[0]?.tokens, await publicAnswer(family, schemaGrammar(schema, "")));
  });
}

/** What node-llama-cpp's public API makes of the same prompt and grammar. */
async function publicAnswer(family: Family, grammarText: string): Promise<Token[]> {
  const llama = await getLlama({ gpu: false, build: "never", maxThreads: 1, progressLogs: false, logger: () => undefined });
  const model = await llama.loadModel({ modelPath: await tinyModel(family) });
  const context = await model.createContext({ contextSize: 512, sequences: 1, flashAttention: true });
  const grammar = await llama.createGrammar({ grammar: grammarText });
  const grammarEvaluationState = new LlamaGrammarEvaluationState({ model, grammar });
  const begin = model.tokens.shouldPrependBosToken && model.tokens.bos !== null ? [model.tokens.bos] : [];
  const answer: Token[] = [];
  const prompted = [...begin, ...model.tokenize(prompt, true)];
  for await (const token of context
    .getSequence()
    .evaluate(prompted, { temperature: 0, grammarEvaluationState, yieldEogToken: true })) {
    if (model.isEogToken(token) || answer.length === long.maxTokens) break;
    answer.push(token);
  }
  await model.dispose();
  return answer;
}

describe("an answer in a given form", () => {
  test("goes on in another runner where it was, and ends as one that nobody disturbed", async () => {
    using loaded = await Loaded.family("llama");
    const whole = await loaded.answer(prompt, long);
    for (const cut of [Math.floor(whole.tokens.length / 2), whole.tokens.length]) {
      using next = await Loaded.family("llama");
      const generated = whole.tokens.slice(0, cut);
      const rest = await next.answer(prompt, { ...long, generated });
      assert.deepEqual([...generated, ...rest.tokens], whole.tokens);
      assert.ok(whole.text.endsWith(rest.text));
    }
    assertValid(whole.text);
  });

  test("is the same for the same seed, alone or beside others without a form", async () => {
    using loaded = await Loaded.family("qwen2");
    const sampled = { ...long, sampling: { ...greedy, temperature: 1, seed: 7, repeatPenalty: 1.1 } };
    const alone = await loaded.answer(prompt, sampled);
    const free = await loaded.answer("Once upon a time");
    const [beside, other] = await Promise.all([loaded.answer(prompt, sampled), loaded.answer("Once upon a time")]);
    assert.deepEqual(beside.tokens, alone.tokens);
    assert.deepEqual(other.tokens, free.tokens);
    assertValid(beside.text);
  });

  test("ends when it is complete, whether or not the end of the turn is to be ignored", async () => {
    using loaded = await Loaded.family("llama");
    const [kept, ignored] = [await loaded.answer(prompt, long), await loaded.answer(prompt, { ...long, ignoreEndOfTurn: true })];
    assert.deepEqual([ignored.text, ignored.ended], [kept.text, { ...kept.ended, id: ignored.ended.id }]);
  });

  test("is cut by max_tokens and by a stop string like any other", async () => {
    using loaded = await Loaded.family("llama");
    const whole = await loaded.answer(prompt, long);
    const cut = await loaded.answer(prompt, { ...long, maxTokens: 5 });
    assert.deepEqual([cut.tokens.length, "reason" in cut.ended && cut.ended.reason], [5, "length"]);
    assert.ok(whole.text.startsWith(cut.text));
    const stopped = await loaded.answer(prompt, { ...long, stop: ['"kind"'] });
    assert.equal(stopped.text, whole.text.slice(0, whole.text.indexOf('"kind"')));
    assert.equal("reason" in stopped.ended && stopped.ended.reason, "stop");
  });

  test("may hold what ends a turn where the answer is free", async () => {
    using loaded = await Loaded.family("gpt2");
    const said = { kind: "chat", messages: [{ role: "user", content: "Hi" }] } as const;
    const only: AnswerFormat = { kind: "schema", schema: { const: "User: Bot: <s>" }, field: "" };
    assert.equal(
      (await loaded.answer({ ...said, messages: [...said.messages] }, { ...long, format: only })).text,
      '"User: Bot: <s>"',
    );
  });

  test("with a schema that cannot be enforced fails by itself, and frees its slot", async () => {
    using loaded = await Loaded.family("llama", { slots: 1 });
    const impossible: AnswerFormat = { kind: "schema", schema: { not: {} }, field: "response_format" };
    const { ended } = await loaded.answer(prompt, { ...long, format: impossible });
    assert.ok(ended.outcome === "failed" && ended.code === "unsupported_schema" && ended.message.includes("#/not"));
    assertValid((await loaded.answer(prompt, long)).text);
  });

  test("of any kind is an object", async () => {
    using loaded = await Loaded.family("qwen2");
    const { text } = await loaded.answer(prompt, { ...long, maxTokens: 40, format: { kind: "object" } });
    assert.match(text, /^\{/);
    assert.ok(objectGrammar().startsWith("root ::="));
  });
});
