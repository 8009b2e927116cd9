import type { FinishReason } from "../protocol/request.ts";
import type { Timings, Usage } from "../protocol/stream.ts";
import type { ToolCall } from "../protocol/tools.ts";
import { Changes } from "./changes.ts";
import { ClientError } from "./errors.ts";
import type { Generation, Phase } from "./generation.ts";

export type AnswerEvent =
  | { readonly type: "queued"; readonly position: number; readonly reason: "slot" | "loading" | "memory" }
  | { readonly type: "started"; readonly model: string; readonly promptTokens: number }
  /** What came since the event before: a token, or more where the reader is slower than the model. */
  | { readonly type: "delta"; readonly text: string; readonly tokens: number }
  /** A call of one of the tools, when all of it has come. */
  | { readonly type: "call"; readonly call: ToolCall }
  | ({ readonly type: "done" } & AnswerResult);

export interface AnswerResult {
  readonly text: string;
  /** Empty unless the finish reason is `tool_calls`, or the answer was cut off after some. */
  readonly toolCalls: readonly ToolCall[];
  readonly finishReason: FinishReason;
  readonly usage: Usage;
  readonly timings: Timings;
}

/**
 * One answer while it is being made. `for await` gives its events; leaving the loop early cancels it, unless it is only watched.
 * Whoever only wants the whole awaits `result`.
 */
export class Answer implements AsyncIterable<AnswerEvent> {
  readonly id: string;
  /** Rejects with a {@link ClientError}, or with the reason of the signal that was aborted. */
  readonly result: Promise<AnswerResult>;
  #resolve: (result: AnswerResult) => void = () => undefined;
  #reject: (reason: unknown) => void = () => undefined;
  readonly #cancel: () => void;
  readonly #leave: () => void;
  readonly #changes = new Changes();
  #generation: Generation;
  #failure: { readonly reason: unknown } | undefined;

  /**
   * @param cancel asks the server to stop; the answer still ends with what the server says then
   * @param leave called when a loop over it is left early
   */
  constructor(generation: Generation, cancel: () => void, leave: () => void) {
    this.id = generation.id;
    this.#generation = generation;
    this.#cancel = cancel;
    this.#leave = leave;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Whoever iterates gets the error there, and need not look here.
    this.result.catch(() => undefined);
  }

  /** For the client that owns it. */
  get generation(): Generation {
    return this.#generation;
  }

  /** So far. */
  get text(): string {
    return this.#generation.text;
  }

  /** Ends it with `finishReason: "cancelled"` and the text so far. */
  cancel(): void {
    this.#cancel();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<AnswerEvent, void, undefined> {
    let isOver = false;
    let queued: Phase | undefined;
    let hasStarted = false;
    let shown = "";
    let tokens = 0;
    let calls = 0;
    try {
      for (;;) {
        const seen = this.#generation;
        const { phase, model, promptTokens = 0 } = seen;
        if (phase.kind === "queued" && phase !== queued) {
          queued = phase;
          yield { type: "queued", position: phase.position, reason: phase.reason };
        }
        if (model !== undefined && !hasStarted) {
          hasStarted = true;
          yield { type: "started", model, promptTokens };
        }
        // When it is read again from its start, because it did not match its digest, what was given out cannot be taken back.
        const isOnItsWay = phase.kind !== "done" && shown.startsWith(seen.text);
        if (!isOnItsWay && !seen.text.startsWith(shown)) throw new ClientError(changedText);
        if (seen.text.length > shown.length) {
          const event = { type: "delta", text: seen.text.slice(shown.length), tokens: seen.tokens - tokens } as const;
          ({ text: shown, tokens } = seen);
          yield event;
        }
        const { toolCalls = [] } = seen;
        const isLastWhole = phase.kind === "done" && phase.done.finish_reason === "tool_calls";
        for (const call of toolCalls.slice(calls, isLastWhole ? undefined : -1)) {
          calls++;
          yield { type: "call", call };
        }
        if (phase.kind === "done" || this.#failure !== undefined) {
          isOver = true;
          if (this.#failure !== undefined) throw this.#failure.reason;
          yield { type: "done", ...(await this.result) };
          return;
        }
        if (seen === this.#generation) await this.#changes.next();
      }
    } finally {
      if (!isOver) this.#leave();
    }
  }

  /** For the client that owns it. */
  update(generation: Generation): void {
    this.#generation = generation;
    const { text, toolCalls = [], phase } = generation;
    if (phase.kind === "done") {
      const { finish_reason: finishReason, usage, timings } = phase.done;
      this.#resolve({ text, toolCalls, finishReason, usage, timings });
    }
    if (phase.kind === "failed") this.fail(new ClientError(phase.failure));
    if (phase.kind === "abandoned") this.fail(new ClientError(abandoned));
    this.#changes.announce();
  }

  /** For the client that owns it. */
  fail(reason: unknown): void {
    if (this.#failure !== undefined || this.#generation.phase.kind === "done") return;
    this.#failure = { reason };
    this.#reject(reason);
    this.#changes.announce();
  }
}

const abandoned = {
  code: "cancelled",
  message: "The answer was cancelled while there was no connection.",
  retryable: false,
} as const;

const changedText = {
  code: "text_mismatch",
  message: "The text that arrived was not the one that the server made.",
  retryable: true,
} as const;
