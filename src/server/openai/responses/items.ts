/** What a response consists of: messages and calls, one written after the other, each with the events that tell of it. */

export type ResponseEvent = { readonly type: string } & Readonly<Record<string, unknown>>;

type ItemStatus = "in_progress" | "completed" | "incomplete";

export interface OutputItem {
  object(status: ItemStatus): Readonly<Record<string, unknown>>;
  open(): ResponseEvent[];
  /** Some more of it has come. */
  grow(text: string): ResponseEvent;
  close(status: "completed" | "incomplete"): ResponseEvent[];
}

export class MessageItem implements OutputItem {
  readonly #id: string;
  readonly #index: number;
  #text = "";

  constructor(id: string, index: number) {
    this.#id = id;
    this.#index = index;
  }

  object(status: ItemStatus) {
    const content = status === "in_progress" ? [] : [textPart(this.#text)];
    return { id: this.#id, type: "message", status, role: "assistant", content };
  }

  open(): ResponseEvent[] {
    return [added(this.#index, this.object("in_progress")), this.#part("response.content_part.added", { part: textPart("") })];
  }

  grow(text: string): ResponseEvent {
    this.#text += text;
    return this.#part("response.output_text.delta", { delta: text, logprobs: [] });
  }

  close(status: "completed" | "incomplete"): ResponseEvent[] {
    return [
      this.#part("response.output_text.done", { text: this.#text, logprobs: [] }),
      this.#part("response.content_part.done", { part: textPart(this.#text) }),
      done(this.#index, this.object(status)),
    ];
  }

  #part(type: string, fields: object): ResponseEvent {
    return { type, item_id: this.#id, output_index: this.#index, content_index: 0, ...fields };
  }
}

export class CallItem implements OutputItem {
  readonly #id: string;
  readonly #index: number;
  readonly #callId: string;
  readonly #name: string;
  #arguments = "";

  constructor(id: string, index: number, callId: string, name: string) {
    this.#id = id;
    this.#index = index;
    this.#callId = callId;
    this.#name = name;
  }

  object(status: ItemStatus) {
    return { id: this.#id, type: "function_call", status, call_id: this.#callId, name: this.#name, arguments: this.#arguments };
  }

  open(): ResponseEvent[] {
    return [added(this.#index, this.object("in_progress"))];
  }

  grow(text: string): ResponseEvent {
    this.#arguments += text;
    return this.#event("response.function_call_arguments.delta", { delta: text });
  }

  close(status: "completed" | "incomplete"): ResponseEvent[] {
    const whole = { name: this.#name, arguments: this.#arguments };
    return [this.#event("response.function_call_arguments.done", whole), done(this.#index, this.object(status))];
  }

  #event(type: string, fields: object): ResponseEvent {
    return { type, item_id: this.#id, output_index: this.#index, ...fields };
  }
}

function added(index: number, item: object): ResponseEvent {
  return { type: "response.output_item.added", output_index: index, item };
}

function done(index: number, item: object): ResponseEvent {
  return { type: "response.output_item.done", output_index: index, item };
}

function textPart(text: string) {
  return { type: "output_text", text, annotations: [], logprobs: [] };
}
