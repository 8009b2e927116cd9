import { LlamapodError } from "../protocol/errors.ts";

const firstDelayMs = 500;
const longestDelayMs = 60_000;

/** Failures in a row after which those who wait are told, instead of being kept waiting for one more try. */
const toleratedFailures = 3;

/** How long a model rests after it could not be loaded or its runner has died, longer each time in a row. */
export class Backoff {
  #error: LlamapodError | undefined;
  #failures = 0;
  #resumeAt = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param refused whether the model was found unusable, so that trying again at once makes no sense
   * @param onRested called when the model may be started again
   */
  failed(error: LlamapodError, refused: boolean, onRested: () => void): void {
    this.#error = error;
    this.#failures = refused ? Math.max(toleratedFailures, this.#failures + 1) : this.#failures + 1;
    const delayMs = this.#failures === 1 ? 0 : Math.min(longestDelayMs, firstDelayMs * 2 ** (this.#failures - 1));
    this.#resumeAt = performance.now() + delayMs;
    this.cancel();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      onRested();
    }, delayMs);
  }

  get resting(): boolean {
    return this.#timer !== undefined;
  }

  get gaveUp(): boolean {
    return this.#failures >= toleratedFailures;
  }

  cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** What went wrong last, and when trying again makes sense. */
  get error(): LlamapodError {
    const retryAfterMs = Math.max(1_000, Math.round(this.#resumeAt - performance.now()));
    const { code, message } = this.#error ?? new LlamapodError("model_load_failed", "The model cannot be loaded.");
    return new LlamapodError(code, message, { param: "model", retryAfterMs });
  }
}

/** The models that rest, or have failed not long ago. */
export class Backoffs {
  readonly #backoffs = new Map<string, Backoff>();

  get(modelId: string): Backoff | undefined {
    return this.#backoffs.get(modelId);
  }

  get resting(): string[] {
    return [...this.#backoffs].filter(([, backoff]) => backoff.resting).map(([modelId]) => modelId);
  }

  /** Lets a model rest. @param refused as in `Backoff` @param onRested called when it may be started again */
  rest(modelId: string, error: LlamapodError, refused: boolean, onRested: () => void): Backoff {
    const backoff = this.#backoffs.get(modelId) ?? new Backoff();
    this.#backoffs.set(modelId, backoff);
    backoff.failed(error, refused, onRested);
    return backoff;
  }

  /** It is well, or to be tried whatever it did before. */
  forget(modelId: string): void {
    this.#backoffs.get(modelId)?.cancel();
    this.#backoffs.delete(modelId);
  }

  close(): void {
    for (const backoff of this.#backoffs.values()) backoff.cancel();
  }
}
