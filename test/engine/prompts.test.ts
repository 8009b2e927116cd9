import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { chatFormat } from "../../src/models/runner/chat-formats.ts";
import { ChatTemplate } from "../../src/models/runner/chat-template.ts";
import type { ChatMessage } from "../../src/protocol/request.ts";
import { families, type Family } from "../fixtures/tiny-models.ts";
import { Loaded } from "./loaded.ts";

const conversation: ChatMessage[] = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "Hi" },
  { role: "assistant", content: "Hello" },
  { role: "user", content: "Bye" },
];

/** Control tokens have no text of their own, so what is checked is the text of every token. */
function written(loaded: Loaded, tokens: Uint32Array): string {
  return [...tokens].map((token) => loaded.engine.detokenize(Uint32Array.of(token)) || loaded.engine.tokenText(token)).join("");
}

const expected: Record<Family, string> = {
  qwen2:
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
  llama:
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
  gemma2:
    "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n",
  gpt2: "<|endoftext|><s>User: Be brief.\n\nHi<s>Bot: Hello<s>User: Bye<s>Bot:",
};

for (const family of families) {
  test(`${family}: a conversation as the model was taught it, with the begin token once`, async () => {
    using loaded = await Loaded.family(family);
    const tokens = loaded.prompts.build({ kind: "chat", messages: conversation });
    // A SentencePiece token alone has lost the space before it.
    const comparable = (text: string) => (family === "gpt2" ? text.replaceAll(" ", "") : text);
    assert.equal(comparable(written(loaded, tokens)), comparable(expected[family]));
    const { beginToken, addsBeginToken } = loaded.engine;
    if (addsBeginToken && beginToken !== undefined) {
      const raw = loaded.prompts.build({ kind: "text", text: "Hi" });
      assert.equal([...raw].filter((token) => token === beginToken).length, 1);
    }
  });

  test(`${family}: nothing that a user writes becomes a control token`, async () => {
    using loaded = await Loaded.family(family);
    const controlTexts = [...loaded.controlTokens].filter((text) => text !== "");
    const countControls = (content: string) => {
      const tokens = loaded.prompts.build({ kind: "chat", messages: [{ role: "user", content }] });
      return [...tokens].filter(
        (token) =>
          loaded.engine.detokenize(Uint32Array.of(token)) === "" && loaded.controlTokens.has(loaded.engine.tokenText(token)),
      ).length;
    };
    const harmless = countControls("x");
    const hostile = fc.array(
      fc.oneof(fc.constantFrom(...controlTexts, "\uE000", "\uE0000\uE001", "<|", "|>", "<s", ">"), fc.string({ unit: "binary" })),
      {
        minLength: 1,
        maxLength: 6,
      },
    );
    fc.assert(
      fc.property(hostile, (pieces) => countControls(`x${pieces.join("")}x`) === harmless),
      { numRuns: 60 },
    );
  });
}

test("messages of one role in a row are merged where the template wants turns to alternate", () => {
  const { template } = chatFormat(undefined, new Set(["<start_of_turn>"]));
  const gemma = new ChatTemplate(template, { beginText: "<bos>", endText: "<eos>" });
  const rendered = gemma.render([
    { role: "user", content: "One" },
    { role: "user", content: "Two" },
  ]);
  assert.equal(rendered, "<bos><start_of_turn>user\nOne\n\nTwo<end_of_turn>\n<start_of_turn>model\n");
});

test("a file without a template gets the one that its vocabulary was made for", () => {
  const names = [["<|start_header_id|>"], ["<|im_start|>"], ["<start_of_turn>"], ["<s>", "<|endoftext|>"], ["</s>"]].map(
    (tokens) => chatFormat(undefined, new Set(tokens)).name,
  );
  assert.deepEqual(names, ["llama-3", "chatml", "gemma", "gpt-sw3", "chatml"]);
});

test("a template that does not work says so, in the terms of the request", () => {
  for (const source of ["{% for %}", "{{ raise_exception('never') }}"]) {
    assert.throws(() => new ChatTemplate(source, { beginText: "", endText: "" }), { code: "template_error" });
  }
});

test("GPT-SW3 ends its turn where it begins to write the user's", async () => {
  assert.deepEqual(chatFormat("{{ 'User: ' }}{{ 'Bot:' }}", new Set()).stops, ["User:"]);
  using loaded = await Loaded.family("gpt2");
  assert.equal(loaded.engine.beginToken === undefined ? "" : loaded.engine.tokenText(loaded.engine.beginToken), "<s>");
});
