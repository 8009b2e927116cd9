import { randomUUID } from "node:crypto";
import type { ToolCall, ToolCallDelta } from "../../protocol/tools.ts";
import type { Piece } from "./call-reader.ts";

/** Calls as the protocols have them, in pieces and put together. */

export function callDelta(piece: Exclude<Piece, { kind: "text" }>): ToolCallDelta {
  const { index } = piece;
  if (piece.kind === "arguments") return { index, function: { arguments: piece.text } };
  const id = `call_${randomUUID().replaceAll("-", "")}`;
  return { index, id, type: "function", function: { name: piece.name, arguments: "" } };
}

/** One after the other, with neighbouring pieces of the same arguments in one. */
export function mergeCallDeltas(one: readonly ToolCallDelta[], other: readonly ToolCallDelta[]): ToolCallDelta[] {
  const merged = [...one];
  for (const delta of other) {
    const last = merged.at(-1);
    if (last?.index !== delta.index || delta.id !== undefined) merged.push(delta);
    else merged[merged.length - 1] = { ...last, function: joined(last.function, delta.function.arguments) };
  }
  return merged;
}

/** The whole calls of an answer, of all its pieces. */
export function callsOf(deltas: readonly ToolCallDelta[]): ToolCall[] {
  return mergeCallDeltas([], deltas).map(({ id = "", function: { name = "", arguments: text } }) => ({
    id,
    type: "function",
    function: { name, arguments: text },
  }));
}

function joined(begun: ToolCallDelta["function"], text: string): ToolCallDelta["function"] {
  return { ...begun, arguments: begun.arguments + text };
}
