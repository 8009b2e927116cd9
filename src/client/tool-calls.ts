import type { ToolCall, ToolCallDelta } from "../protocol/tools.ts";

/** The calls so far, with what has come since: an id begins a new one, everything else goes on with one that there is. */
export function withCalls(calls: readonly ToolCall[], deltas: readonly ToolCallDelta[]): readonly ToolCall[] {
  const grown = [...calls];
  for (const { index, id = "", function: part } of deltas) {
    const call = grown[index] ?? { id, type: "function", function: { name: part.name ?? "", arguments: "" } };
    grown[index] = { ...call, function: { ...call.function, arguments: call.function.arguments + part.arguments } };
  }
  return grown;
}
