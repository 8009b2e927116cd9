import type { ChatMessage } from "../../protocol/request.ts";
import type { OfferedTool } from "../../protocol/tools.ts";

/** How a model writes a call: between marks, as Hermes and Qwen do and ours is, or as nothing but an object, as Llama 3 does. */
export interface ToolDialect {
  readonly opening: string;
  readonly closing: string;
  readonly argumentsKey: "arguments" | "parameters";
}

const marked: ToolDialect = { opening: "<tool_call>", closing: "</tool_call>", argumentsKey: "arguments" };
const bare: ToolDialect = { opening: "", closing: "", argumentsKey: "parameters" };

/** @param template a chat template that takes tools, or nothing where ours describes them */
export function dialectOf(template: string | undefined): ToolDialect {
  const isBare = template !== undefined && !template.includes(marked.opening) && template.includes(bare.argumentsKey);
  return isBare ? bare : marked;
}

/** What a template is given as a turn: OpenAI's message, with arguments that are an object as templates expect them. */
export interface Turn {
  readonly role: ChatMessage["role"];
  readonly content: string;
  readonly tool_calls?: readonly {
    readonly id: string;
    readonly type: "function";
    readonly function: { readonly name: string; readonly arguments: unknown };
  }[];
  readonly tool_call_id?: string;
  readonly name?: string;
}

export function turnsOf(messages: readonly ChatMessage[]): Turn[] {
  const names = new Map<string, string>();
  return messages.map((message) => {
    const { role, content } = message;
    if (role === "tool") {
      const name = names.get(message.tool_call_id);
      return { role, content, tool_call_id: message.tool_call_id, ...(name !== undefined && { name }) };
    }
    const calls = role === "assistant" ? (message.tool_calls ?? []) : [];
    if (calls.length === 0) return { role, content };
    const made = calls.map(({ id, type, function: { name, arguments: text } }) => {
      names.set(id, name);
      return { id, type, function: { name, arguments: JSON.parse(text) as unknown } };
    });
    return { role, content, tool_calls: made };
  });
}

/** As OpenAI writes them, which is what templates take. */
export function toolObjects(tools: readonly OfferedTool[]): unknown[] {
  return tools.map(({ name, description, parameters = noParameters }) => ({
    type: "function",
    function: { name, ...(description !== undefined && { description }), parameters },
  }));
}

const noParameters = { type: "object", properties: {} };

/** The same conversation in words, for templates that know nothing of tools. */
export function spellOut(turns: readonly Turn[], tools: readonly unknown[] | undefined): Turn[] {
  const spelled = turns.map(({ role, content, tool_calls: calls = [] }): Turn => {
    if (role === "tool") return { role: "user", content: `<tool_response>\n${content}\n</tool_response>` };
    const written = calls.map(({ function: call }) => `${marked.opening}\n${JSON.stringify(call)}\n${marked.closing}`);
    return written.length === 0
      ? { role, content }
      : { role, content: [content, ...written].filter((text) => text !== "").join("\n") };
  });
  if (tools === undefined) return spelled;
  const [first, ...rest] = spelled;
  if (first?.role !== "system") return [{ role: "system", content: describe(tools) }, ...spelled];
  return [{ role: "system", content: `${first.content}\n\n${describe(tools)}` }, ...rest];
}

function describe(tools: readonly unknown[]): string {
  return `You can call these functions:
${tools.map((tool) => JSON.stringify(tool)).join("\n")}

To call one, write nothing but this, once for each call:
${marked.opening}
{"name": "the name of the function", "arguments": {"an argument": "its value"}}
${marked.closing}
What it returns comes in the next message as <tool_response>.`;
}
