import type { Attributes, Span } from "../health/tracing/span.ts";
import type { JobStart } from "../models/job.ts";

/** The spans of a generation, within that of its request: waiting and loading, then prefill, then decode. */
export class GenerationTrace {
  readonly #span: Span;
  #phase: Span;

  constructor(request: Span, id: string, acceptedAt: number) {
    this.#span = request.child("generation", acceptedAt, { "llamapod.generation.id": id });
    this.#phase = this.#span.child("queue", acceptedAt);
  }

  started({ promptTokens, cachedTokens, loadedAt, loadMs }: JobStart, startedAt: number): void {
    if (loadMs > 0) this.#phase.child("load", loadedAt - loadMs).end(loadedAt);
    this.#next("prefill", startedAt, {
      "gen_ai.usage.input_tokens": promptTokens,
      "llamapod.prompt.cached_tokens": cachedTokens,
    });
  }

  firstToken(at: number): void {
    this.#next("decode", at, {});
  }

  /** @param error its code, where it ended in one */
  ended(attributes: Attributes, error: string | undefined): void {
    this.#phase.end();
    this.#span.set(attributes);
    if (error !== undefined) this.#span.fail(error);
    this.#span.end();
  }

  #next(name: string, at: number, attributes: Attributes): void {
    this.#phase.end(at);
    this.#phase = this.#span.child(name, at, attributes);
  }
}
