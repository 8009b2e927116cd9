import type { ServerMessage, ServerMessageOf } from "../protocol/stream.ts";
import { Connection, type ConnectionState, type Surroundings } from "./connection.ts";
import {
  failureOf,
  fromStart,
  hasEnded,
  newGeneration,
  receive,
  type Done,
  type Failure,
  type Generation,
} from "./generation.ts";
import { isSequenced, type GenerateRequest, type SequencedMessage } from "./wire.ts";

export interface StreamSurroundings extends Surroundings {
  /** SHA-256 of the text in UTF-8, hexadecimal; absent where the browser offers none (plain HTTP beyond localhost). */
  readonly digest?: (text: string) => Promise<string>;
  /** Names this client to the server: its next connection takes over what an earlier one was reading. */
  readonly reader?: string;
  warn(message: string): void;
}

export interface StreamEvents {
  connection(state: ConnectionState): void;
  hello(message: ServerMessageOf<"hello">): void;
  model(message: ServerMessageOf<"model">): void;
  /** Called after every change. What must outlive the page is to be saved before this returns: the end is acknowledged next. */
  generation(generation: Generation): void;
  /** An error that belongs to no generation. */
  error(message: ServerMessageOf<"error">): void;
}

/** Events that may be applied before the server is told; it uses this to know how far the reader is. */
const ackEvery = 16;
const ackWithinMs = 1_000;
const repeatResumeAfterMs = 2_000;

const tooLong: Failure = {
  code: "request_too_large",
  message: "The conversation has become too long to be sent. Start a new one.",
  retryable: false,
};

const mismatch: Failure = {
  code: "text_mismatch",
  message: "The text that arrived is not the one that the server made, twice in a row. Something on the way changes it.",
  retryable: true,
};

interface Entry {
  generation: Generation;
  acked: number;
  /** How often its request was sent: the server may have it although a later one is refused. */
  requests: number;
  /** Until it has ended. */
  cancelling: boolean;
  /** Set while a cancel waits to be sent again. */
  cancelRepeatTimer: (() => void) | undefined;
  /** A digest that did not match was already answered by reading everything again. */
  reread: boolean;
  cancelAckTimer: (() => void) | undefined;
  /** Set while an answer to `resume` is awaited: what arrives meanwhile may leave the same gap. */
  cancelResumeTimer: (() => void) | undefined;
}

/**
 * Generations over one connection that may come and go. Each is delivered exactly once, whatever is cut, merged or repeated on
 * the way; it ends with `done`, `failed` or `abandoned`, never silently.
 */
export class StreamClient {
  readonly #surroundings: StreamSurroundings;
  readonly #events: StreamEvents;
  readonly #connection: Connection;
  readonly #entries = new Map<string, Entry>();
  /** Stopped while the server could not be told. */
  readonly #abandoned = new Set<string>();
  #longestMessageBytes = Infinity;

  constructor(surroundings: StreamSurroundings, events: StreamEvents) {
    this.#surroundings = surroundings;
    this.#events = events;
    this.#connection = new Connection(
      surroundings,
      { changed: (state) => this.#connectionChanged(state), received: (message) => this.#receive(message) },
      () => this.#entries.size + this.#abandoned.size > 0,
    );
  }

  get #reader(): { reader?: string } {
    const { reader } = this.#surroundings;
    return reader === undefined ? {} : { reader };
  }

  connect(): void {
    this.#connection.open();
  }

  disconnect(): void {
    this.#connection.close();
  }

  probe(): void {
    this.#connection.probe();
  }

  generate(request: GenerateRequest): void {
    this.continue(newGeneration(request));
  }

  /** Takes up a generation where an earlier page left it. */
  continue(generation: Generation): void {
    const entry: Entry = {
      generation,
      acked: generation.last,
      requests: 0,
      cancelling: false,
      cancelRepeatTimer: undefined,
      reread: false,
      cancelAckTimer: undefined,
      cancelResumeTimer: undefined,
    };
    this.#entries.set(generation.id, entry);
    if (generation.phase.kind === "verifying") void this.#verify(entry, generation, generation.phase.done);
    else this.#ask(entry);
    this.#connection.open();
  }

  /** Asks for a model to be made active; `model` messages tell how that goes. False when there is no connection. */
  switchTo(model: string): boolean {
    return this.#connection.send({ type: "switch", model });
  }

  /** Stops reading a generation, which ends nothing. */
  forget(id: string): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) this.#stopTimers(entry);
    this.#entries.delete(id);
  }

  /** Ends with `done` from the server, or with `abandoned` at once where the server cannot be told now. */
  cancel(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined || hasEnded(entry.generation)) return;
    entry.cancelling = true;
    if (!this.#connection.send({ type: "cancel", id })) this.#abandon(entry);
  }

  #connectionChanged(state: ConnectionState): void {
    if (state.kind !== "open") for (const entry of this.#entries.values()) if (entry.cancelling) this.#abandon(entry);
    this.#events.connection(state);
  }

  #abandon(entry: Entry): void {
    this.#abandoned.add(entry.generation.id);
    this.#end(entry, { ...entry.generation, phase: { kind: "abandoned" } });
  }

  #receive(message: ServerMessage): void {
    if (isSequenced(message)) return this.#receiveEvent(message);
    switch (message.type) {
      case "hello":
        this.#longestMessageBytes = message.limits["max_message_bytes"] ?? Infinity;
        this.#takeUp();
        return this.#events.hello(message);
      case "model":
        return this.#events.model(message);
      case "queued":
        return this.#receiveQueued(message);
      case "error":
        return this.#receiveError(message);
    }
  }

  #takeUp(): void {
    for (const id of this.#abandoned) this.#connection.send({ type: "cancel", id });
    this.#abandoned.clear();
    for (const entry of this.#entries.values()) if (entry.generation.phase.kind !== "verifying") this.#ask(entry);
  }

  /** Nothing received yet means that the request itself may be lost; asking it again with the same id is safe. */
  #ask(entry: Entry): void {
    const { generation } = entry;
    const { request } = generation;
    if (request === undefined || generation.last > 0) return this.#resume(entry);
    const message = { ...request, ...this.#reader };
    const bytes = new TextEncoder().encode(JSON.stringify(message)).length;
    // The server would close the connection, not only refuse the message.
    if (bytes > this.#longestMessageBytes) this.#end(entry, { ...generation, phase: { kind: "failed", failure: tooLong } });
    else if (this.#connection.send(message)) entry.requests++;
  }

  #resume(entry: Entry): void {
    const { id, last } = entry.generation;
    entry.cancelResumeTimer?.();
    entry.cancelResumeTimer = this.#surroundings.after(repeatResumeAfterMs, () => (entry.cancelResumeTimer = undefined));
    this.#connection.send({ type: "resume", id, after: last, ...this.#reader });
  }

  #receiveEvent(message: SequencedMessage): void {
    const entry = this.#entries.get(message.id);
    if (entry === undefined) return;
    const { verdict, generation } = receive(entry.generation, message);
    if (verdict === "ignored") return;
    if (verdict === "gap") {
      if (entry.cancelResumeTimer === undefined) this.#resume(entry);
      return;
    }
    entry.cancelResumeTimer?.();
    entry.cancelResumeTimer = undefined;
    if (hasEnded(generation)) return this.#end(entry, generation);
    entry.generation = generation;
    this.#events.generation(generation);
    if (generation.phase.kind === "verifying") void this.#verify(entry, generation, generation.phase.done);
    else this.#ackSoon(entry);
  }

  #receiveQueued({ id, position, reason }: ServerMessageOf<"queued">): void {
    const entry = this.#entries.get(id);
    if (entry === undefined || hasEnded(entry.generation) || entry.generation.last > 0) return;
    entry.generation = { ...entry.generation, phase: { kind: "queued", position, reason } };
    this.#events.generation(entry.generation);
  }

  /** Without a range it answers what was asked about a generation, instead of being part of it. */
  #receiveError(message: ServerMessageOf<"error">): void {
    const entry = message.id === undefined ? undefined : this.#entries.get(message.id);
    if (entry === undefined) {
      if (message.id === undefined) this.#events.error(message);
      return;
    }
    const { generation } = entry;
    if (hasEnded(generation)) return;
    // Perhaps it was the cancel.
    if (entry.cancelling && message.code === "too_many_messages") return this.#cancelLater(entry, message.retry_after_ms);
    if (message.retryable && (generation.last > 0 || entry.requests > 1)) {
      entry.cancelResumeTimer?.();
      const delayMs = message.retry_after_ms ?? repeatResumeAfterMs;
      entry.cancelResumeTimer = this.#surroundings.after(delayMs, () => {
        entry.cancelResumeTimer = undefined;
        this.#ask(entry);
      });
      return;
    }
    const cancelled = entry.cancelling && message.code === "generation_not_found";
    this.#end(entry, {
      ...generation,
      phase: cancelled ? { kind: "abandoned" } : { kind: "failed", failure: failureOf(message) },
    });
  }

  #cancelLater(entry: Entry, delayMs = repeatResumeAfterMs): void {
    entry.cancelRepeatTimer?.();
    entry.cancelRepeatTimer = this.#surroundings.after(delayMs, () => {
      this.#connection.send({ type: "cancel", id: entry.generation.id });
      // Or it was what would have brought the end here. Of what the server does not have this says so.
      this.#resume(entry);
    });
  }

  async #verify(entry: Entry, generation: Generation, done: Done): Promise<void> {
    const digest = await this.#surroundings.digest?.(generation.text);
    if (entry.generation !== generation) return;
    if (digest !== undefined && digest !== done.text_sha256) {
      this.#surroundings.warn(`The text of generation ${generation.id} does not match its digest.`);
      if (!entry.reread) {
        entry.reread = true;
        entry.acked = 0;
        entry.generation = fromStart(generation);
        this.#events.generation(entry.generation);
        this.#resume(entry);
      } else {
        this.#end(entry, { ...generation, phase: { kind: "failed", failure: mismatch } });
      }
      return;
    }
    this.#end(entry, { ...generation, phase: { kind: "done", done } });
  }

  #end(entry: Entry, generation: Generation): void {
    entry.generation = generation;
    this.#stopTimers(entry);
    this.#entries.delete(generation.id);
    this.#events.generation(generation);
    if (generation.last > entry.acked) this.#connection.send({ type: "ack", id: generation.id, seq: generation.last });
  }

  #stopTimers(entry: Entry): void {
    entry.cancelAckTimer?.();
    entry.cancelResumeTimer?.();
    entry.cancelRepeatTimer?.();
  }

  #ackSoon(entry: Entry): void {
    const due = entry.generation.last - entry.acked;
    if (due >= ackEvery) this.#ack(entry);
    else entry.cancelAckTimer ??= this.#surroundings.after(ackWithinMs, () => this.#ack(entry));
  }

  #ack(entry: Entry): void {
    entry.cancelAckTimer?.();
    entry.cancelAckTimer = undefined;
    const { id, last } = entry.generation;
    if (this.#connection.send({ type: "ack", id, seq: last })) entry.acked = last;
  }
}
