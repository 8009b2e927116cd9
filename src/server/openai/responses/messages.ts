import { LlamapodError } from "../../../protocol/errors.ts";
import { unanswerable, type ChatMessage } from "../../../protocol/request.ts";
import type { InputItem } from "../../../protocol/responses.ts";

/** Items as messages: the calls of a turn, and what was said with them, are one. @throws {LlamapodError} */
export function conversationOf(before: readonly ChatMessage[], items: readonly InputItem[]): ChatMessage[] {
  const messages = [...before];
  for (const item of items) {
    const last = messages.at(-1);
    if (item.type === "message") messages.push({ role: item.role, content: item.content });
    else if (item.type === "function_call_output")
      messages.push({ role: "tool", tool_call_id: item.call_id, content: item.output });
    else {
      const call = { id: item.call_id, type: "function" as const, function: { name: item.name, arguments: item.arguments } };
      if (last?.role !== "assistant") messages.push({ role: "assistant", content: "", tool_calls: [call] });
      else messages[messages.length - 1] = { ...last, tool_calls: [...(last.tool_calls ?? []), call] };
    }
  }
  if (unanswerable(messages) !== undefined) {
    throw new LlamapodError("invalid_message", "input: a function_call_output has the call_id of no call before it.", {
      param: "input",
    });
  }
  return messages;
}
