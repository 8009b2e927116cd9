import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { StopMatcher } from "../../src/models/runner/stop-matcher.ts";
import { TextStream } from "../../src/models/runner/text-stream.ts";
import { Loaded } from "./loaded.ts";

const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 40 });
const stops = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 }), { maxLength: 3 });

function split(text: string, cuts: readonly number[]): string[] {
  const borders = [0, ...cuts.map((cut) => cut % (text.length + 1)), text.length].sort((a, b) => a - b);
  return borders.slice(1).map((end, index) => text.slice(borders[index], end));
}

function run(matcher: StopMatcher, pieces: readonly string[]): { shown: string; stopped: boolean } {
  let shown = "";
  for (const piece of pieces) {
    const { text, stopped } = matcher.push(piece);
    shown += text;
    if (stopped) return { shown, stopped };
  }
  return { shown: shown + matcher.flush(), stopped: false };
}

test("text ends before the first stop string, however it is cut into pieces, and is whole without one", () => {
  fc.assert(
    fc.property(letters, stops, fc.array(fc.nat(), { maxLength: 10 }), (text, stopStrings, cuts) => {
      const found = stopStrings.map((stop) => text.indexOf(stop)).filter((index) => index >= 0);
      const { shown, stopped } = run(new StopMatcher(stopStrings), split(text, cuts));
      assert.equal(stopped, found.length > 0);
      // A stop string that is complete ends the text, though an earlier one, longer, might have been about to.
      if (found.length === 0) assert.equal(shown, text);
      else assert.ok(text.startsWith(shown) && stopStrings.some((stop) => text.startsWith(stop, shown.length)));
    }),
    { numRuns: 2_000 },
  );
});

test("no part of a stop string is shown before it is certain not to be one", () => {
  const matcher = new StopMatcher(["</answer>"]);
  assert.deepEqual(matcher.push("Yes.</ans"), { text: "Yes.", stopped: false });
  assert.deepEqual(matcher.push("wer>no"), { text: "", stopped: true });
});

const texts = ["Räksmörgås på Österlen", "🙂👩‍👩‍👧‍👦🇸🇪 emoji", "日本語のテキスト、そして中文", "naïve café ½ €5"];

for (const family of ["qwen2", "llama", "gpt2", "gemma2"] as const) {
  test(`${family}: a character is never split between two pieces of text`, async () => {
    using loaded = await Loaded.family(family);
    for (const text of texts) {
      const tokens = loaded.engine.tokenize(`x${text}`);
      const stream = new TextStream((pending) => loaded.engine.detokenize(pending), [], undefined);
      const pieces = [...tokens].map((token) => stream.push(token).text);
      pieces.push(stream.flush());
      assert.equal(pieces.join("").trimStart(), `x${text}`);
      assert.ok(pieces.every((piece) => !piece.includes("\uFFFD")));
    }
  });
}

for (const family of ["qwen2", "llama", "gpt2", "gemma2"] as const) {
  test(`${family}: text comes out as it went in, wherever its tokens part the characters`, async () => {
    using loaded = await Loaded.family(family);
    const hangul = fc.integer({ min: 0xac00, max: 0xd7a3 }).map((code) => String.fromCodePoint(code));
    const unit = fc.oneof(hangul, fc.string({ unit: "binary", minLength: 1, maxLength: 2 }), fc.constantFrom(" ", "\n", "a"));
    fc.assert(
      fc.property(fc.array(unit, { minLength: 1, maxLength: 24 }), (units) => {
        const text = `x${units.join("")}`;
        const stream = new TextStream((pending) => loaded.engine.detokenize(pending), [], undefined);
        const pieces = [...loaded.engine.tokenize(text)].map((token) => stream.push(token).text);
        assert.equal([...pieces, stream.flush()].join("").trimStart(), text);
      }),
      { numRuns: 1_500 },
    );
  });
}

test("bytes that are no character do not hold the text up", async () => {
  using loaded = await Loaded.family("gpt2");
  const [byte] = loaded.engine.tokenize("🙂").slice(-1);
  const stream = new TextStream((pending) => loaded.engine.detokenize(pending), [], undefined);
  const shown = Array.from({ length: 12 }, () => stream.push(byte ?? 0).text).join("");
  assert.ok(shown.length > 0);
});
