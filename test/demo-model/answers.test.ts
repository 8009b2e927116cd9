import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { z } from "zod";
import { modelsFolder, serveFolder, type RunningService } from "../support/service.ts";
import { heldOut, type HeldOutQuestion } from "./data.ts";

const completion = z.object({
  choices: z.tuple([z.object({ message: z.object({ content: z.string() }), finish_reason: z.string() })]),
});

/** The model card has the shares of all questions; some less are asked for here, as these are only some questions. */
const models = [
  { id: "llamapod-demo", language: "en", everyNth: 5, leastShare: 0.86 },
  { id: "llamapod-demo-sv", language: "sv", everyNth: 3, leastShare: 0.88 },
];

describe("the demo models", () => {
  let service: RunningService;

  before(async () => {
    service = await serveFolder(await modelsFolder({}), { demoModels: true, maxResident: 2 });
  });
  after(() => service[Symbol.asyncDispose]());

  for (const { id, language, everyNth, leastShare } of models) {
    test(`${id} answers questions that it has never seen, in whole sentences, and ends by itself`, async () => {
      const questions = (await heldOut(language)).filter((_, index) => index % everyNth === 0);
      const answers = await Promise.all(questions.map((question) => answerTo(id, question)));
      for (const { text, finishReason } of answers) {
        assert.equal(finishReason, "stop", text);
        assert.match(text, /[.!?:`]$/);
        assert.equal(text.split("`").length % 2, 1, text);
      }
      const wrong = answers.filter(({ facts, text }) => !facts.every((fact) => new RegExp(fact, "i").test(text)));
      const share = 1 - wrong.length / answers.length;
      assert.ok(
        share >= leastShare,
        `${share} right; wrong: ${JSON.stringify(wrong.map(({ question, text }) => [question, text]))}`,
      );
    });
  }

  test("what it cannot know it says, and how to get a model that can", async () => {
    const questions = (await heldOut("en")).filter(({ group }) => group === "unknown");
    const answers = await Promise.all(questions.map((question) => answerTo("llamapod-demo", question)));
    const honest = answers.filter(({ text }) => text.includes("demo") && text.includes("llamapod pull qwen2.5-0.5b"));
    assert.ok(honest.length >= 0.88 * answers.length, JSON.stringify(answers.filter((answer) => !honest.includes(answer))));
  });

  async function answerTo(model: string, { before: earlier, question, facts }: HeldOutQuestion) {
    const messages: { role: string; content: string }[] = [];
    let last = { text: "", finishReason: "" };
    for (const content of [...earlier, question]) {
      messages.push({ role: "user", content });
      last = await ask(model, messages);
      messages.push({ role: "assistant", content: last.text });
    }
    return { ...last, question, facts };
  }

  async function ask(model: string, messages: readonly object[]) {
    const response = await fetch(`${service.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ model, messages, max_tokens: 400 }),
    });
    const [{ message, finish_reason }] = completion.parse(await response.json()).choices;
    return { text: message.content, finishReason: finish_reason };
  }
});
