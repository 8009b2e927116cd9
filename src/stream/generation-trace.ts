import type { Attributes, Span } from "../health/tracing/span.ts";
import type { AwaitedLoad, JobStart, QueueReason } from "../models/job.ts";

/**
 * The spans of a generation, within that of its request: waiting and loading, then prefill, then decode, and all of these again
 * where it goes on in another runner.
 */
export class GenerationTrace {
  readonly #span: Span;
  #phase: Span;
  #phaseName: "queue" | "prefill" | "decode" = "queue";
  /** Since when it waits for a load that has not come to an end. */
  #loadingSince: number | undefined;

  constructor(request: Span, id: string, acceptedAt: number) {
    this.#span = request.child("generation", acceptedAt, { "llamapod.generation.id": id });
    this.#phase = this.#span.child("queue", acceptedAt);
  }

  queued(reason: QueueReason): void {
    if (reason === "loading") this.#loadingSince ??= performance.now();
    else this.#loadingSince = undefined;
  }

  started({ promptTokens, cachedTokens, ...load }: JobStart, startedAt: number): void {
    this.#loaded(load);
    this.#next("prefill", startedAt, {
      "gen_ai.usage.input_tokens": promptTokens,
      "llamapod.prompt.cached_tokens": cachedTokens,
    });
  }

  /** There are tokens. */
  produced(): void {
    if (this.#phaseName === "prefill") this.#next("decode", performance.now());
  }

  interrupted(): void {
    this.#next("queue", performance.now());
  }

  resumed(load: AwaitedLoad): void {
    this.#loaded(load);
    this.#next("prefill", performance.now());
  }

  /** @param error its code, where it ended in one */
  ended(attributes: Attributes, error: string | undefined): void {
    if (this.#loadingSince !== undefined) {
      const load = this.#phase.child("load", this.#loadingSince);
      if (error !== undefined) load.fail(error);
      load.end();
    }
    this.#phase.end();
    this.#span.set(attributes);
    if (error !== undefined) this.#span.fail(error);
    this.#span.end();
  }

  #loaded({ loadedAt, loadMs }: AwaitedLoad): void {
    if (loadMs > 0) this.#phase.child("load", loadedAt - loadMs).end(loadedAt);
    this.#loadingSince = undefined;
  }

  #next(name: "queue" | "prefill" | "decode", at: number, attributes: Attributes = {}): void {
    this.#phase.end(at);
    this.#phase = this.#span.child(name, at, attributes);
    this.#phaseName = name;
  }
}
