import type { ServerMessageOf } from "../../protocol/stream.ts";
import type { ToolCall } from "../../protocol/tools.ts";

/** How an endpoint of OpenAI's writes an answer: whole, and in chunks. */
export interface Rendering {
  /** The beginning of the ids it gives out. */
  readonly idPrefix: string;
  readonly wholeObject: string;
  readonly chunkObject: string;
  whole(text: string, calls: readonly ToolCall[]): Record<string, unknown>;
  /** What comes before the first text, if anything. */
  readonly opening: Record<string, unknown> | undefined;
  chunk(delta: ServerMessageOf<"delta">): Record<string, unknown>;
  readonly closing: Record<string, unknown>;
}

export const chatRendering: Rendering = {
  idPrefix: "chatcmpl-",
  wholeObject: "chat.completion",
  chunkObject: "chat.completion.chunk",
  whole: (text, calls) => {
    const content = text === "" && calls.length > 0 ? null : text;
    return { message: { role: "assistant", content, refusal: null, ...(calls.length > 0 && { tool_calls: calls }) } };
  },
  opening: { delta: { role: "assistant", content: "" } },
  chunk: ({ text, tool_calls: calls }) => ({
    delta: { ...(text !== "" && { content: text }), ...(calls !== undefined && { tool_calls: calls }) },
  }),
  closing: { delta: {} },
};

export const completionRendering: Rendering = {
  idPrefix: "cmpl-",
  wholeObject: "text_completion",
  chunkObject: "text_completion",
  whole: (text) => ({ text }),
  opening: undefined,
  chunk: ({ text }) => ({ text }),
  closing: { text: "" },
};

export function choice(content: Record<string, unknown>, finishReason: string | null) {
  return { index: 0, ...content, logprobs: null, finish_reason: finishReason };
}

/** OpenAI knows no answer that its reader has cut short: nobody is left to read one. */
export function finishReason(done: ServerMessageOf<"done">): string {
  return done.finish_reason === "cancelled" ? "stop" : done.finish_reason;
}

export function usage({ usage: { prompt_tokens, completion_tokens, cached_tokens } }: ServerMessageOf<"done">) {
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens },
  };
}
