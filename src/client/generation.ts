import type { ServerMessageOf } from "../protocol/stream.ts";
import type { ToolCall } from "../protocol/tools.ts";
import { withCalls } from "./tool-calls.ts";
import type { GenerateRequest, SequencedMessage } from "./wire.ts";

export type Done = ServerMessageOf<"done">;

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  /** The field of the request that was at fault. */
  readonly param?: string;
  readonly retryAfterMs?: number;
}

export type Phase =
  | { readonly kind: "sending" }
  | { readonly kind: "queued"; readonly position: number; readonly reason: "slot" | "loading" | "memory" }
  | { readonly kind: "streaming" }
  /** The last event is here; the text is being compared with its digest. */
  | { readonly kind: "verifying"; readonly done: Done }
  | { readonly kind: "done"; readonly done: Done }
  /** Stopped while there was no connection: the server was not there to say `done`. */
  | { readonly kind: "abandoned" }
  | { readonly kind: "failed"; readonly failure: Failure };

/** Everything that is needed to show one generation, and to go on with it from another connection or a reloaded page. */
export interface Generation {
  readonly id: string;
  /** Absent where somebody else asked and this client only watches. */
  readonly request?: GenerateRequest;
  /** `seq` of the last event that is in `text`. */
  readonly last: number;
  readonly text: string;
  /** What the model calls of the request's tools, the last one perhaps not yet whole. Absent before the first. */
  readonly toolCalls?: readonly ToolCall[];
  readonly tokens: number;
  readonly phase: Phase;
  readonly model?: string;
  readonly promptTokens?: number;
  /** When the first and the latest delta were made, on the server's clock, and how many tokens the first one held. */
  readonly pace?: { readonly firstMs: number; readonly firstTokens: number; readonly latestMs: number };
}

export type Verdict = "applied" | "ignored" | "gap";

export function newGeneration(request: GenerateRequest): Generation {
  return { id: request.id, request, last: 0, text: "", tokens: 0, phase: { kind: "sending" } };
}

/** A generation that was begun on another connection, read from its start. */
export function watchedGeneration(id: string): Generation {
  return { id, last: 0, text: "", tokens: 0, phase: { kind: "sending" } };
}

export function hasEnded(generation: Generation): boolean {
  const { kind } = generation.phase;
  return kind === "done" || kind === "failed" || kind === "abandoned";
}

/** The client's rule: what was seen is ignored, what leaves a gap is asked for again, what follows on is applied. */
export function receive(generation: Generation, message: SequencedMessage): { verdict: Verdict; generation: Generation } {
  if (hasEnded(generation) || message.seq <= generation.last) return { verdict: "ignored", generation };
  if (message.first !== generation.last + 1) return { verdict: "gap", generation };
  return { verdict: "applied", generation: applied(generation, message) };
}

/** Forgets what was received, so that all of it can be asked for again. */
export function fromStart(generation: Generation): Generation {
  const { id, request } = generation;
  return { ...(request === undefined ? watchedGeneration(id) : newGeneration(request)), phase: { kind: "streaming" } };
}

/** Tokens per second so far, by the server's clock; nothing before there is an interval to measure. */
export function liveTokensPerSecond({ tokens, pace }: Generation): number | undefined {
  if (pace === undefined || pace.latestMs <= pace.firstMs) return undefined;
  return ((tokens - pace.firstTokens) * 1000) / (pace.latestMs - pace.firstMs);
}

function applied(generation: Generation, message: SequencedMessage): Generation {
  const last = message.seq;
  switch (message.type) {
    case "started":
      return {
        ...generation,
        last,
        phase: { kind: "streaming" },
        model: message.model,
        promptTokens: message.prompt_tokens,
      };
    case "delta":
      return {
        ...generation,
        last,
        phase: { kind: "streaming" },
        text: generation.text + message.text,
        ...(message.tool_calls !== undefined && { toolCalls: withCalls(generation.toolCalls ?? [], message.tool_calls) }),
        tokens: generation.tokens + message.n,
        pace: {
          firstMs: generation.pace?.firstMs ?? message.t,
          firstTokens: generation.pace?.firstTokens ?? message.n,
          latestMs: message.t,
        },
      };
    case "done":
      return { ...generation, last, phase: { kind: "verifying", done: message } };
    case "error":
      return { ...generation, last, phase: { kind: "failed", failure: failureOf(message) } };
  }
}

export function failureOf(error: ServerMessageOf<"error">): Failure {
  const { code, message, retryable, param, retry_after_ms: retryAfterMs } = error;
  return { code, message, retryable, ...(param !== undefined && { param }), ...(retryAfterMs !== undefined && { retryAfterMs }) };
}
