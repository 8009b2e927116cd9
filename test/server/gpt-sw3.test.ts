import assert from "node:assert/strict";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import request from "supertest";
import { writeRecitingModel } from "../fixtures/reciting-model.ts";
import { StreamClient } from "../support/stream-client.ts";
import { serveFolder } from "../support/service.ts";

const answer = ["H", "i", "."];
const nextTurn = ["U", "s", "e", "r"];
const messages = [{ role: "user" as const, content: "Hello" }];

/** The prompt ends with `Bot:`, so that this is what it says after each colon. */
const cases = [
  ["that begins the user's turn itself", [":", ...answer, ...nextTurn]],
  ["that says the token of an ended turn", [":", ...answer, "<s>", ...nextTurn]],
] as const;

/** A file of the catalogue that has no template, and one that the catalogue does not know. */
const files = [
  ["the catalogue's template", "gpt-sw3-6.7b-v2-instruct-Q4_K_M", false],
  ["the file's own template", "of-my-own", true],
] as const;

for (const [what, recited] of cases) {
  for (const [whose, file, hasTemplate] of files) {
    test(`a GPT-SW3 ${what}, with ${whose}: it answers up to there, and no further`, async () => {
      const folder = await mkdtemp(join(tmpdir(), "llamapod-gpt-sw3-"));
      await writeRecitingModel(join(folder, `${file}.gguf`), recited, hasTemplate);
      await using service = await serveFolder(folder, {});
      const chat = { messages, max_tokens: 30 };
      const whole = await request(service.url).post("/v1/chat/completions").send(chat);
      const [choice] = (whole.body as { choices: { message: { content: string }; finish_reason: string }[] }).choices;
      assert.deepEqual([choice?.message.content, choice?.finish_reason], ["Hi.", "stop"]);
      using client = await StreamClient.connect(service.url);
      assert.equal((await client.generate({ ...chat, id: "streamed" })).text, "Hi.");

      const untold = { prompt: "Bot:", max_tokens: 12, ignore_eos: true };
      const goesOn = await request(service.url).post("/v1/completions").send(untold);
      const [raw] = (goesOn.body as { choices: { text: string }[] }).choices;
      assert.match(raw?.text ?? "", /^Hi\.User:Hi/, "it would have gone on");
    });
  }
}
