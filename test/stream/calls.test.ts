import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { callDelta, callsOf } from "../../src/stream/calls/call-deltas.ts";
import { CallReader } from "../../src/stream/calls/call-reader.ts";

interface Read {
  readonly text: string;
  readonly calls: readonly (readonly [name: string, argumentsText: string])[];
}

function read(pieces: readonly string[], isCut = false, mostCalls = Infinity): Read {
  const reader = new CallReader(["weather", "time"], mostCalls);
  const found = [...pieces.flatMap((piece) => reader.push(piece)), ...reader.end(isCut)];
  const deltas = found.flatMap((piece) => (piece.kind === "text" ? [] : [callDelta(piece)]));
  return {
    text: found.map((piece) => (piece.kind === "text" ? piece.text : "")).join(""),
    calls: callsOf(deltas).map(({ function: { name, arguments: text } }) => [name, text] as const),
  };
}

const call = '{"name": "weather", "arguments": {"city": "Ume\\u00e5 \\"}{\\""}}';
const given = '{"city": "Ume\\u00e5 \\"}{\\""}';

describe("calls in what a model writes", () => {
  const cases: readonly (readonly [what: string, written: string, text: string, calls: Read["calls"]])[] = [
    ["as Hermes and Qwen write them", `<tool_call>\n${call}\n</tool_call>`, "", [["weather", given]]],
    ["after words", `I will look.\n\n<tool_call>${call}</tool_call>`, "I will look.", [["weather", given]]],
    [
      "several",
      `<tool_call>${call}</tool_call>\n<tool_call>${call}</tool_call>`,
      "",
      [
        ["weather", given],
        ["weather", given],
      ],
    ],
    ["as Llama 3 writes them", call.replace("arguments", "parameters"), "", [["weather", given]]],
    ["without an end", `<tool_call>${call}`, "", [["weather", given]]],
    ["the arguments first", `<tool_call>{"arguments": {"a": 1}, "name": "time"}</tool_call>`, "", [["time", '{"a":1}']]],
    ["the arguments as text", `<tool_call>{"name": "time", "arguments": "{\\"a\\":1}"}</tool_call>`, "", [["time", '{"a":1}']]],
    ["without arguments", `<tool_call>{"name": "time"}</tool_call>`, "", [["time", "{}"]]],
    ["nothing that is a call", `<tool_call>later</tool_call> maybe`, "<tool_call>later</tool_call> maybe", []],
    ["JSON that is none", ` {"name": "nobody", "arguments": {}}`, ` {"name": "nobody", "arguments": {}}`, []],
    ["a call that is only spoken of", `Like ${call}.`, `Like ${call}.`, []],
    ["a mark that is not finished", "a < b <tool", "a < b <tool", []],
  ];
  for (const [what, written, text, calls] of cases) {
    test(`${what}: the same wherever the pieces end`, () => {
      fc.assert(
        fc.property(fc.array(fc.nat(written.length), { maxLength: 12 }), (cuts) => {
          const ends = [0, ...cuts.sort((a, b) => a - b), written.length];
          assert.deepEqual(read(ends.map((end, index) => written.slice(ends[index - 1] ?? 0, end))), { text, calls });
        }),
      );
      assert.deepEqual(read(Array.from(written)), { text, calls });
    });
  }

  test("no part of a call that is cut off is text", () => {
    const written = `Well.<tool_call>${call}</tool_call>`;
    for (let length = 0; length < written.length; length++) {
      const { text } = read([written.slice(0, length)], true);
      assert.ok("Well.".startsWith(text) || written.slice(0, length) === text, text);
      if (length >= "Well.<tool_call>".length) assert.equal(text, "Well.");
    }
  });

  test("only the first where one is asked for", () => {
    assert.equal(read([`<tool_call>${call}</tool_call><tool_call>${call}</tool_call>`], false, 1).calls.length, 1);
  });
});
