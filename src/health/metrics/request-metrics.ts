import type { ErrorCode } from "../../protocol/errors.ts";
import * as buckets from "./buckets.ts";
import type { Exemplar, Instruments } from "./instruments.ts";
import type { ModelLabels } from "./model-labels.ts";

/** Which door a request came through, in words that labels may have. */
export interface Door {
  readonly endpoint: "stream" | "chat" | "completions" | "responses";
  readonly transport: "ws" | "sse" | "http";
}

const transportsOf: Readonly<Record<Door["endpoint"], readonly Door["transport"][]>> = {
  stream: ["ws"],
  chat: ["sse", "http"],
  completions: ["sse", "http"],
  responses: ["ws", "sse", "http"],
};

export type Outcome = "ok" | "cancelled" | "error" | "rejected";

/** In which phase of its life a generation was cancelled. */
export type CancelledPhase = "queued" | "load" | "prefill" | "decode";

/** Errors that say nothing of the request: there was no room for it. */
const rejections: ReadonlySet<ErrorCode> = new Set([
  "overloaded",
  "too_many_messages",
  "queue_share_exceeded",
  "too_many_connections",
  "connection_share_exceeded",
  "too_many_generations",
  "generation_share_exceeded",
  "log_memory_full",
  "draining",
]);

/** Errors that an operator can do something about, which the rules of monitoring count. */
const faults = [
  "internal",
  "runner_crashed",
  "model_load_failed",
  "model_file_invalid",
  "insufficient_memory",
] as const satisfies ErrorCode[];

/** What generations tell of themselves, seen from the client. */
export class RequestMetrics {
  readonly #models: ModelLabels;
  readonly #ended;
  readonly #errors;
  readonly #rateLimited;
  readonly #seconds;
  readonly #firstTokenSeconds;
  readonly #cancelSeconds;
  readonly #resumes;
  readonly #expired;

  constructor(make: Instruments, models: ModelLabels) {
    this.#models = models;
    this.#ended = make.counter(
      "llamapod_requests_total",
      "Generations by how they ended.",
      "model",
      "endpoint",
      "transport",
      "outcome",
    );
    this.#errors = make.counter(
      "llamapod_request_errors_total",
      "Generations that ended in an error, by its code.",
      "model",
      "code",
    );
    this.#rateLimited = make.counter(
      "llamapod_rate_limited_total",
      "Requests, messages and connections beyond a limit, by the error they got.",
      "code",
    );
    this.#seconds = make.tracedHistogram(
      "llamapod_request_duration_seconds",
      "From request to last token.",
      buckets.request,
      "model",
      "transport",
    );
    this.#firstTokenSeconds = make.tracedHistogram(
      "llamapod_time_to_first_token_seconds",
      "From request to first token; cold where the model had to be loaded meanwhile.",
      buckets.firstToken,
      "model",
      "transport",
      "cold",
    );
    this.#cancelSeconds = make.histogram(
      "llamapod_cancel_latency_seconds",
      "From a cancellation to the end of the generation.",
      buckets.cancel,
      "phase",
    );
    this.#resumes = make.counter(
      "llamapod_stream_resumes_total",
      "Attempts to read a generation on over another connection.",
      "outcome",
    );
    this.#expired = make.counter("llamapod_stream_expired_total", "Generations that were cancelled because nobody read them.");
    for (const outcome of ["ok", "expired", "not_found"]) this.#resumes.inc({ outcome }, 0);
  }

  /** It may be asked for. Errors that all come between two scrapes have a rate only if they are counted from 0 on. */
  known(modelId: string): void {
    const model = this.#models.at(modelId);
    for (const [endpoint, transports] of Object.entries(transportsOf)) {
      for (const transport of transports) {
        for (const outcome of ["ok", "error"]) this.#ended.inc({ model, endpoint, transport, outcome }, 0);
      }
    }
    for (const code of faults) this.#errors.inc({ model, code }, 0);
  }

  firstToken(
    modelId: string | undefined,
    transport: Door["transport"],
    isCold: boolean,
    seconds: number,
    exemplar: Exemplar,
  ): void {
    const labels = { model: this.#models.of(modelId), transport, cold: String(isCold) };
    this.#firstTokenSeconds.observe(labels, seconds, exemplar);
  }

  /** @param modelId undefined where the request came to no model @param code the error that it ended in */
  ended(
    modelId: string | undefined,
    { endpoint, transport }: Door,
    ending: "ok" | "cancelled" | ErrorCode,
    seconds: number,
    exemplar: Exemplar,
  ): void {
    const model = this.#models.of(modelId);
    const isError = ending !== "ok" && ending !== "cancelled";
    const outcome: Outcome = !isError ? ending : rejections.has(ending) ? "rejected" : "error";
    this.#ended.inc({ model, endpoint, transport, outcome });
    this.#seconds.observe({ model, transport }, seconds, exemplar);
    if (!isError) return;
    this.#errors.inc({ model, code: ending });
    // Over HTTP the error is an answer, which is counted where it is sent.
    if (transport === "ws") this.refused(ending);
  }

  /** Every error that a client is told, wherever it came from. */
  refused(code: ErrorCode): void {
    if (rejections.has(code) && code !== "draining") this.#rateLimited.inc({ code });
  }

  cancelled(phase: CancelledPhase, seconds: number): void {
    this.#cancelSeconds.observe({ phase }, seconds);
  }

  resumed(outcome: "ok" | "expired" | "not_found"): void {
    this.#resumes.inc({ outcome });
  }

  expired(): void {
    this.#expired.inc();
  }
}
