import type { LlamapodError } from "../../../protocol/errors.ts";
import type { ResponseRequest } from "../../../protocol/responses.ts";
import type { ServerMessageOf } from "../../../protocol/stream.ts";
import type { Frame, Generation } from "../../../stream/generation.ts";

/** An answer in OpenAI's Responses shape, as the object that it is when it has ended and as the events before that. */
export type ResponseEvent = { readonly type: string } & Readonly<Record<string, unknown>>;

interface Outcome {
  readonly status: "in_progress" | "completed" | "incomplete" | "failed" | "cancelled";
  readonly text?: string;
  readonly done?: ServerMessageOf<"done">;
  readonly error?: ServerMessageOf<"error">;
}

/** Turns the frames of one generation into events. */
export class ResponseEvents {
  readonly #generation: Generation;
  readonly #request: ResponseRequest;
  readonly #model: string;
  readonly #createdAt = Math.floor(Date.now() / 1_000);
  readonly #itemId: string;
  #sequence = 0;
  #text = "";

  /** @param model the one that was asked for; `started` says which it became */
  constructor(generation: Generation, request: ResponseRequest, model: string) {
    this.#generation = generation;
    this.#request = request;
    this.#model = model;
    this.#itemId = generation.id.replace(/^resp_/, "msg_");
  }

  /** All of the answer so far. */
  get text(): string {
    return this.#text;
  }

  of(frame: Frame): ResponseEvent[] {
    switch (frame.type) {
      case "started": {
        const response = this.response({ status: "in_progress" });
        return [
          this.#event("response.created", { response }),
          this.#event("response.in_progress", { response }),
          this.#event("response.output_item.added", { output_index: 0, item: this.#item("in_progress") }),
          this.#part("response.content_part.added", { part: textPart("") }),
        ];
      }
      case "delta":
        this.#text += frame.text;
        return [this.#part("response.output_text.delta", { delta: frame.text, logprobs: [] })];
      case "done":
        return this.#ending(frame);
      case "error":
        return [this.#event("response.failed", { response: this.response({ status: "failed", error: frame }) })];
    }
  }

  /** The end of an answer that has not begun. */
  failed(error: LlamapodError): ResponseEvent {
    const { code, message, param } = error;
    return this.#event("error", { code, message, param: param ?? null });
  }

  /** The whole, when its last frame has come. */
  response({ status, done, error }: Outcome) {
    const { instructions, max_output_tokens, previous_response_id, store, metadata, temperature, top_p } = this.#request;
    const hasText = done !== undefined;
    return {
      id: this.#generation.id,
      object: "response",
      created_at: this.#createdAt,
      status,
      background: false,
      error: error === undefined ? null : { code: error.code, message: error.message },
      incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
      instructions: instructions ?? null,
      max_output_tokens: max_output_tokens ?? null,
      metadata: metadata ?? {},
      model: this.#model,
      output: hasText ? [this.#item(status === "completed" ? "completed" : "incomplete")] : [],
      parallel_tool_calls: true,
      previous_response_id: previous_response_id ?? null,
      reasoning: { effort: null, summary: null },
      store: store ?? true,
      temperature: temperature ?? null,
      text: { format: { type: "text" } },
      tool_choice: "auto",
      tools: [],
      top_p: top_p ?? null,
      truncation: "disabled",
      usage: done === undefined ? null : usage(done),
    };
  }

  /** @returns the response that a `done` frame ends */
  ended(done: ServerMessageOf<"done">) {
    return this.response({ status: statusOf(done), done });
  }

  #ending(done: ServerMessageOf<"done">): ResponseEvent[] {
    const response = this.ended(done);
    const item = this.#item(response.status === "completed" ? "completed" : "incomplete");
    const ending = response.status === "completed" ? "response.completed" : "response.incomplete";
    return [
      this.#part("response.output_text.done", { text: this.#text, logprobs: [] }),
      this.#part("response.content_part.done", { part: textPart(this.#text) }),
      this.#event("response.output_item.done", { output_index: 0, item }),
      this.#event(ending, { response }),
    ];
  }

  #item(status: "in_progress" | "completed" | "incomplete") {
    const content = status === "in_progress" ? [] : [textPart(this.#text)];
    return { id: this.#itemId, type: "message", status, role: "assistant", content };
  }

  #part(type: string, fields: object): ResponseEvent {
    return this.#event(type, { item_id: this.#itemId, output_index: 0, content_index: 0, ...fields });
  }

  #event(type: string, fields: object): ResponseEvent {
    return { type, sequence_number: this.#sequence++, ...fields };
  }
}

function statusOf({ finish_reason: reason }: ServerMessageOf<"done">): Outcome["status"] {
  if (reason === "length") return "incomplete";
  return reason === "cancelled" ? "cancelled" : "completed";
}

function textPart(text: string) {
  return { type: "output_text", text, annotations: [], logprobs: [] };
}

function usage({ usage: { prompt_tokens, completion_tokens, cached_tokens } }: ServerMessageOf<"done">) {
  return {
    input_tokens: prompt_tokens,
    input_tokens_details: { cached_tokens },
    output_tokens: completion_tokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: prompt_tokens + completion_tokens,
  };
}
