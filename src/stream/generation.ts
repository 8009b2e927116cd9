import { createHash } from "node:crypto";
import type { Metrics } from "../health/metrics/metrics.ts";
import type { Exemplar } from "../health/metrics/instruments.ts";
import type { Door } from "../health/metrics/request-metrics.ts";
import type { Span } from "../health/tracing/span.ts";
import type { AwaitedLoad, JobObserver, JobStart, QueueReason } from "../models/job.ts";
import { GenerationTrace } from "./generation-trace.ts";
import { describeError, LlamapodError, type ErrorCode } from "../protocol/errors.ts";
import type { FinishReason } from "../protocol/request.ts";
import type { ServerMessageOf, Timings, Usage } from "../protocol/stream.ts";
import type { ToolCallDelta } from "../protocol/tools.ts";
import { callDelta, mergeCallDeltas } from "./calls/call-deltas.ts";
import type { CallReader, Piece } from "./calls/call-reader.ts";

type Logged = ServerMessageOf<"started"> | ServerMessageOf<"delta"> | ServerMessageOf<"done"> | ServerMessageOf<"error">;

/** A message of the log, with the last `seq` it covers. */
export type Frame = Logged & { readonly seq: number };

/** Who reads a generation. It keeps its own place in the log and asks for what comes next. */
export interface Subscriber {
  /** The log has grown. */
  advanced(): void;
  queued(message: ServerMessageOf<"queued">): void;
  /** The place where the answer is shown, if that may have several connections. */
  readonly reader?: string | undefined;
  /** The same reader has come over a newer connection. */
  superseded?(): void;
}

/** Who keeps a generation. */
export interface Keeper {
  /** The log takes so many bytes more. */
  grown(bytes: number): void;
  /** Told once, when the log is complete. */
  ended(generation: Generation): void;
}

/** Deltas are merged up to this many characters a frame, when a reader catches up. */
const mergedCharacters = 16_384;

/** What an event takes of memory beside its text. */
const eventBytes = 128;

/** Which request a generation is the answer to, and which door that came through. */
export interface Origin extends Door {
  readonly requestId: string;
  readonly span: Span;
}

/**
 * One answer as its readers see it: a log of numbered events that only grows, and the readers. It outlives their
 * connections. `queued -> running -> ended`.
 */
export class Generation implements JobObserver {
  readonly id: string;
  readonly origin: Origin;
  readonly #metrics: Metrics;
  readonly #calls: CallReader | undefined;
  readonly #maxBytes: number;
  readonly #subscribers = new Set<Subscriber>();
  readonly #keeper: Keeper;
  readonly #log: Frame[] = [];
  readonly #hash = createHash("sha256");
  readonly #acceptedAt = performance.now();
  readonly #trace: GenerationTrace;
  #state: "queued" | "running" | "ended" = "queued";
  /** What a client calls a model is no label of metrics until the catalogue knows it. */
  #modelId: string | undefined;
  #startedAt = 0;
  #isCold = false;
  #firstTokenSeen = false;
  /** Tokens whose text has not come out yet. */
  #silentTokens = 0;
  #lastQueued: ServerMessageOf<"queued"> | undefined;
  #bytes = 0;

  /**
   * @param calls finds the calls in what the model writes, where it has tools
   * @param maxBytes of its log, beyond which it ends in an error
   */
  constructor(id: string, origin: Origin, metrics: Metrics, calls: CallReader | undefined, maxBytes: number, keeper: Keeper) {
    this.id = id;
    this.origin = origin;
    this.#metrics = metrics;
    this.#trace = new GenerationTrace(origin.span, id, this.#acceptedAt);
    this.#calls = calls;
    this.#maxBytes = maxBytes;
    this.#keeper = keeper;
  }

  get hasEnded(): boolean {
    return this.#state === "ended";
  }

  /** Where the log ends. */
  get lastSeq(): number {
    return this.#log.length;
  }

  /** What the log takes of memory, about. */
  get bytes(): number {
    return this.#bytes;
  }

  get subscriberCount(): number {
    return this.#subscribers.size;
  }

  /** For the log: what came of it, without a word of what was said. */
  get ending(): Readonly<Record<string, string | number | undefined>> {
    const model = this.#modelId;
    const last = this.#log.at(-1);
    if (last?.type === "error") return { model, outcome: last.code };
    if (last?.type !== "done") return { model };
    const { usage, timings } = last;
    return {
      model,
      outcome: last.finish_reason,
      ...usage,
      ttft_ms: timings.ttft_ms,
      tokens_per_s: timings.decode_tokens_per_second,
    };
  }

  /** The error it ended in, if it did. */
  get error(): ServerMessageOf<"error"> | undefined {
    const last = this.#log.at(-1);
    return last?.type === "error" ? last : undefined;
  }

  /** Ends the reading of whoever reads it as this reader. */
  supersede(reader: string): void {
    for (const subscriber of [...this.#subscribers]) if (subscriber.reader === reader) subscriber.superseded?.();
  }

  subscribe(subscriber: Subscriber): () => void {
    this.#subscribers.add(subscriber);
    if (this.#state === "queued" && this.#lastQueued !== undefined) subscriber.queued(this.#lastQueued);
    return () => {
      this.#subscribers.delete(subscriber);
    };
  }

  /** What follows event `after`, with neighbouring deltas in one frame; undefined at the end of the log. */
  next(after: number): Frame | undefined {
    const first = this.#log[after];
    if (first?.type !== "delta") return first;
    let merged = first;
    let characters = charactersOf(first);
    for (let index = after + 1; characters < mergedCharacters; index++) {
      const following = this.#log[index];
      if (following?.type !== "delta") break;
      characters += charactersOf(following);
      merged = merge(merged, following);
    }
    return merged;
  }

  assigned(modelId: string): void {
    this.#modelId = modelId;
  }

  queued(position: number, reason: QueueReason): void {
    this.#trace.queued(reason);
    // Of an interruption readers see a pause.
    if (this.#state !== "queued") return;
    this.#lastQueued = { type: "queued", id: this.id, position, reason };
    for (const subscriber of this.#subscribers) subscriber.queued(this.#lastQueued);
  }

  started(start: JobStart): void {
    const { promptTokens, cachedTokens, loadMs } = start;
    this.#state = "running";
    this.#startedAt = performance.now();
    this.#isCold = loadMs > 0;
    this.#trace.started(start, this.#startedAt);
    this.#append({ type: "started", model: this.#modelId ?? "", prompt_tokens: promptTokens, cached_tokens: cachedTokens });
  }

  produced(text: string, tokens: number): void {
    if (this.hasEnded) return;
    if (tokens > 0) this.#trace.produced();
    if (tokens > 0 && !this.#firstTokenSeen) {
      this.#firstTokenSeen = true;
      const { transport } = this.origin;
      this.#metrics.requests.firstToken(this.#modelId, transport, this.#isCold, this.#elapsedSeconds(), this.#exemplar());
    }
    this.#silentTokens += tokens;
    if (text === "") return;
    if (this.#calls === undefined) this.#give(text, []);
    else this.#givePieces(this.#calls.push(text));
    if (this.#bytes > this.#maxBytes) this.failed(tooLong(this.#maxBytes));
  }

  #givePieces(pieces: readonly Piece[]): void {
    const text = pieces.map((piece) => (piece.kind === "text" ? piece.text : "")).join("");
    const calls = pieces.flatMap((piece) => (piece.kind === "text" ? [] : [callDelta(piece)]));
    if (pieces.length > 0) this.#give(text, mergeCallDeltas([], calls));
  }

  #give(text: string, calls: ToolCallDelta[]): void {
    this.#hash.update(text);
    const t = Math.round(performance.now() - this.#startedAt);
    this.#append({ type: "delta", n: this.#silentTokens, t, text, ...(calls.length > 0 && { tool_calls: calls }) });
    this.#silentTokens = 0;
  }

  interrupted(): void {
    this.#trace.interrupted();
  }

  resumed(load: AwaitedLoad): void {
    this.#trace.resumed(load);
  }

  finished(ending: FinishReason, usage: Usage, timings: Timings): void {
    if (this.hasEnded) return;
    if (this.#calls !== undefined) this.#givePieces(this.#calls.end(ending !== "stop"));
    const reason = ending === "stop" && this.#calls?.hasCalls === true ? "tool_calls" : ending;
    this.#end(reason === "cancelled" ? "cancelled" : "ok");
    this.#trace.ended(
      {
        "gen_ai.operation.name": this.origin.endpoint === "completions" ? "text_completion" : "chat",
        "gen_ai.response.model": this.#modelId ?? "",
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "llamapod.finish_reason": reason,
        "llamapod.interruptions": timings.interruptions,
      },
      undefined,
    );
    this.#append({ type: "done", finish_reason: reason, usage, timings, text_sha256: this.#hash.digest("hex") });
    this.#keeper.ended(this);
  }

  failed(error: LlamapodError): void {
    if (this.hasEnded) return;
    this.#end(error.code);
    this.#trace.ended({}, error.code);
    this.#append(errorMessage(error));
    this.#keeper.ended(this);
  }

  #end(ending: "ok" | "cancelled" | ErrorCode): void {
    this.#state = "ended";
    this.#metrics.requests.ended(this.#modelId, this.origin, ending, this.#elapsedSeconds(), this.#exemplar());
  }

  #exemplar(): Exemplar {
    return { traceId: this.origin.span.traceId, requestId: this.origin.requestId };
  }

  #elapsedSeconds(): number {
    return (performance.now() - this.#acceptedAt) / 1_000;
  }

  #append(event: WithoutAddress<Logged>): void {
    const seq = this.#log.length + 1;
    const bytes = eventBytes + (event.type === "delta" ? bytesOf(event) : 0);
    this.#bytes += bytes;
    this.#log.push({ ...event, id: this.id, first: seq, seq });
    for (const subscriber of [...this.#subscribers]) subscriber.advanced();
    this.#keeper.grown(bytes);
  }
}

type Delta = ServerMessageOf<"delta">;

function merge(one: Delta, following: Delta): Delta {
  const { seq, t, n, text, tool_calls: calls } = following;
  const merged = { ...one, seq, t, n: one.n + n, text: one.text + text };
  return calls === undefined ? merged : { ...merged, tool_calls: mergeCallDeltas(one.tool_calls ?? [], calls) };
}

function charactersOf({ text, tool_calls: calls = [] }: Delta): number {
  return calls.reduce((sum, call) => sum + call.function.arguments.length, text.length);
}

function bytesOf({ text, tool_calls: calls }: Pick<Delta, "text" | "tool_calls">): number {
  return Buffer.byteLength(text) + (calls === undefined ? 0 : Buffer.byteLength(JSON.stringify(calls)));
}

function tooLong(maxBytes: number): LlamapodError {
  const message = `The answer takes more than ${maxBytes} bytes of the server's memory. Ask for less with max_tokens.`;
  return new LlamapodError("answer_too_long", message, { param: "max_tokens" });
}

type WithoutAddress<Message> = Message extends unknown ? Omit<Message, "id" | "first" | "seq"> : never;

/** An error as a message, without an address. */
export function errorMessage(error: LlamapodError): Omit<ServerMessageOf<"error">, "id" | "first" | "seq"> {
  const { code, message, param, retryAfterMs } = error;
  return {
    type: "error",
    code,
    message,
    ...(param !== undefined && { param }),
    retryable: describeError(code).retryable,
    ...(retryAfterMs !== undefined && { retry_after_ms: retryAfterMs }),
  };
}
