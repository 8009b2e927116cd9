import type { ServerMessageOf } from "../../protocol/stream.ts";

/** How an endpoint of OpenAI's writes an answer: whole, and in chunks. */
export interface Rendering {
  /** The beginning of the ids it gives out. */
  readonly idPrefix: string;
  readonly wholeObject: string;
  readonly chunkObject: string;
  whole(text: string): Record<string, unknown>;
  /** What comes before the first text, if anything. */
  readonly opening: Record<string, unknown> | undefined;
  chunk(text: string): Record<string, unknown>;
  readonly closing: Record<string, unknown>;
}

export const chatRendering: Rendering = {
  idPrefix: "chatcmpl-",
  wholeObject: "chat.completion",
  chunkObject: "chat.completion.chunk",
  whole: (content) => ({ message: { role: "assistant", content, refusal: null } }),
  opening: { delta: { role: "assistant", content: "" } },
  chunk: (content) => ({ delta: { content } }),
  closing: { delta: {} },
};

export const completionRendering: Rendering = {
  idPrefix: "cmpl-",
  wholeObject: "text_completion",
  chunkObject: "text_completion",
  whole: (text) => ({ text }),
  opening: undefined,
  chunk: (text) => ({ text }),
  closing: { text: "" },
};

export function choice(content: Record<string, unknown>, finishReason: string | null) {
  return { index: 0, ...content, logprobs: null, finish_reason: finishReason };
}

/** OpenAI knows no answer that its reader has cut short: nobody is left to read one. */
export function finishReason(done: ServerMessageOf<"done">): string {
  return done.finish_reason === "length" ? "length" : "stop";
}

export function usage({ usage: { prompt_tokens, completion_tokens, cached_tokens } }: ServerMessageOf<"done">) {
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    prompt_tokens_details: { cached_tokens },
  };
}
