import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { notFetched, realModel } from "../fixtures/real-models.ts";
import { modelsFolder, serveFolder, type RunningService } from "../support/service.ts";

const [smollm2, gemma3] = await Promise.all([realModel("smollm2"), realModel("gemma3")]);
const skip = smollm2 === undefined || gemma3 === undefined ? notFetched : false;

async function serve(): Promise<RunningService> {
  assert.ok(smollm2 !== undefined && gemma3 !== undefined);
  return serveFolder(await modelsFolder({ smollm2, gemma3 }), { model: "smollm2", maxResident: 2 });
}

test("real models say what is true, remember a name, and repeat themselves for the same seed", { skip }, async () => {
  await using service = await serve();
  const openai = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: "none" });
  const chat = async (...turns: string[]) => {
    const messages = turns.map((content, index) => ({
      role: index % 2 === 0 ? ("user" as const) : ("assistant" as const),
      content,
    }));
    const completion = await openai.chat.completions.create({
      model: "smollm2",
      messages,
      temperature: 0,
      max_completion_tokens: 32,
    });
    return completion.choices[0]?.message.content ?? "";
  };
  assert.match(await chat("Complete the sentence: The capital of France is"), /Paris/);
  assert.match(await chat("Hello! My name is Anna.", "Hello Anna! It's nice to meet you.", "What's my name?"), /Anna/);

  const complete = async (model: string, prompt: string) => {
    const { choices } = await openai.completions.create({ model, prompt, temperature: 0, max_tokens: 4 });
    return choices[0]?.text ?? "";
  };
  assert.match(await complete("smollm2", "The capital of France is"), /^ Paris/);
  assert.match(await complete("gemma3", "Paris is the capital of"), /^ France/);

  const seeded = async (prompt: string) => {
    const { choices } = await openai.completions.create({ model: "smollm2", prompt, temperature: 0.8, seed: 7, max_tokens: 80 });
    return choices[0]?.text;
  };
  const alone = await seeded("Once upon a time");
  const [beside] = await Promise.all([seeded("Once upon a time"), seeded("The weather is"), seeded("A list of")]);
  assert.equal(beside, alone);
});
