import type { LlamapodError } from "../../../protocol/errors.ts";
import type { ChatMessage } from "../../../protocol/request.ts";
import type { ResponseRequest } from "../../../protocol/responses.ts";
import type { ServerMessageOf } from "../../../protocol/stream.ts";
import type { ToolCallDelta } from "../../../protocol/tools.ts";
import { callsOf } from "../../../stream/calls/call-deltas.ts";
import type { Frame, Generation } from "../../../stream/generation.ts";
import { CallItem, MessageItem, type OutputItem, type ResponseEvent } from "./items.ts";

/** An answer in OpenAI's Responses shape, as the object that it is when it has ended and as the events before that. */
interface Outcome {
  readonly status: "in_progress" | "completed" | "incomplete" | "failed" | "cancelled";
  readonly done?: ServerMessageOf<"done">;
  readonly error?: ServerMessageOf<"error">;
}

/** Turns the frames of one generation into events. */
export class ResponseEvents {
  readonly #generation: Generation;
  readonly #request: ResponseRequest;
  readonly #model: string;
  readonly #createdAt = Math.floor(Date.now() / 1_000);
  readonly #items: OutputItem[] = [];
  readonly #calls: ToolCallDelta[] = [];
  #sequence = 0;
  #text = "";

  /** @param model the one that was asked for; `started` says which it became */
  constructor(generation: Generation, request: ResponseRequest, model: string) {
    this.#generation = generation;
    this.#request = request;
    this.#model = model;
  }

  /** All of the answer so far, as it is remembered. */
  get message(): ChatMessage {
    const calls = callsOf(this.#calls);
    return { role: "assistant", content: this.#text, ...(calls.length > 0 && { tool_calls: calls }) };
  }

  of(frame: Frame): ResponseEvent[] {
    switch (frame.type) {
      case "started": {
        const response = this.response({ status: "in_progress" });
        const begun = [
          { type: "response.created", response },
          { type: "response.in_progress", response },
        ];
        // Where there are tools, whether there will be a message is not known yet.
        return this.#numbered([...begun, ...(this.#hasTools ? [] : this.#open(new MessageItem(this.#newId("msg"), 0)))]);
      }
      case "delta":
        return this.#numbered([...this.#said(frame.text), ...(frame.tool_calls ?? []).flatMap((call) => this.#called(call))]);
      case "done":
        return this.#numbered(this.#ending(frame));
      case "error":
        return this.#numbered([{ type: "response.failed", response: this.response({ status: "failed", error: frame }) }]);
    }
  }

  /** The end of an answer that has not begun. */
  failed(error: LlamapodError): ResponseEvent {
    const { code, message, param } = error;
    return { type: "error", sequence_number: this.#sequence++, code, message, param: param ?? null };
  }

  /** The whole, when its last frame has come. */
  response({ status, done, error }: Outcome) {
    const { instructions, max_output_tokens, previous_response_id, store, metadata, temperature, text, top_p } = this.#request;
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
      output: done === undefined ? [] : this.#output(status),
      parallel_tool_calls: this.#request.parallel_tool_calls ?? true,
      previous_response_id: previous_response_id ?? null,
      reasoning: { effort: null, summary: null },
      store: store ?? true,
      temperature: temperature ?? null,
      text: { format: text?.format ?? { type: "text" } },
      tool_choice: this.#request.tool_choice ?? "auto",
      tools: (this.#request.tools ?? []).map((tool) => ({ strict: false, parameters: null, ...tool })),
      top_p: top_p ?? null,
      truncation: "disabled",
      usage: done === undefined ? null : usage(done),
    };
  }

  /** @returns the response that a `done` frame ends */
  ended(done: ServerMessageOf<"done">) {
    return this.response({ status: statusOf(done), done });
  }

  get #hasTools(): boolean {
    return (this.#request.tools ?? []).length > 0;
  }

  #said(text: string): ResponseEvent[] {
    if (text === "") return [];
    this.#text += text;
    const last = this.#items.at(-1);
    if (last instanceof MessageItem) return [last.grow(text)];
    const item = new MessageItem(this.#newId("msg"), this.#items.length);
    return [...this.#open(item), item.grow(text)];
  }

  #called(delta: ToolCallDelta): ResponseEvent[] {
    this.#calls.push(delta);
    const { id, function: called } = delta;
    const last = this.#items.at(-1);
    if (id === undefined) return last instanceof CallItem ? [last.grow(called.arguments)] : [];
    const item = new CallItem(this.#newId("fc"), this.#items.length, id, called.name ?? "");
    return [...this.#open(item), ...(called.arguments === "" ? [] : [item.grow(called.arguments)])];
  }

  /** One item is written after the other. */
  #open(item: OutputItem): ResponseEvent[] {
    const before = this.#items.at(-1)?.close("completed") ?? [];
    this.#items.push(item);
    return [...before, ...item.open()];
  }

  /** Only what was written last may be incomplete. */
  #output(status: Outcome["status"]) {
    const last = status === "completed" ? "completed" : "incomplete";
    return this.#items.map((item, index) => item.object(index === this.#items.length - 1 ? last : "completed"));
  }

  #ending(done: ServerMessageOf<"done">): ResponseEvent[] {
    const opened = this.#items.length === 0 ? this.#open(new MessageItem(this.#newId("msg"), 0)) : [];
    const response = this.ended(done);
    const isComplete = response.status === "completed";
    const closed = this.#items.at(-1)?.close(isComplete ? "completed" : "incomplete") ?? [];
    return [...opened, ...closed, { type: isComplete ? "response.completed" : "response.incomplete", response }];
  }

  #newId(prefix: "msg" | "fc"): string {
    const id = this.#generation.id.replace(/^resp/, prefix);
    return this.#items.length === 0 ? id : `${id}${this.#items.length}`;
  }

  #numbered(events: readonly ResponseEvent[]): ResponseEvent[] {
    return events.map(({ type, ...fields }) => ({ type, sequence_number: this.#sequence++, ...fields }));
  }
}

function statusOf({ finish_reason: reason }: ServerMessageOf<"done">): Outcome["status"] {
  if (reason === "length") return "incomplete";
  return reason === "cancelled" ? "cancelled" : "completed";
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
