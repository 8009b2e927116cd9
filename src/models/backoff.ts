import { LlamapodError } from "../protocol/errors.ts";

const firstDelayMs = 500;
const longestDelayMs = 60_000;

/** Failures in a row after which those who wait are told, instead of being kept waiting for one more try. */
const toleratedFailures = 3;

/** Failures in a row after which an answer that has begun is no longer kept for a better time, which is a minute then. */
const hopelessFailures = 8;

/** Why a model rests: it cannot be used at all, a runner did not get it loaded, or died while it served. */
export type Mishap = "refused" | "start" | "death";

/**
 * How long a model rests after it could not be loaded or its runner has died, longer each time in a row. Only failed starts
 * lead to giving up: a runner that dies while it serves has loaded its model.
 */
export class Backoff {
  #error: LlamapodError | undefined;
  #failedStarts = 0;
  #deaths = 0;
  #resumeAt = 0;
  #hasRecovered = false;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param mishap after one that is `refused`, trying again at once makes no sense
   * @param onRested called when the model may be started again
   */
  failed(error: LlamapodError, mishap: Mishap, onRested: () => void): void {
    this.#error = error;
    this.#hasRecovered = false;
    if (mishap === "death") this.#deaths++;
    else this.#failedStarts = Math.max(mishap === "refused" ? toleratedFailures : 0, this.#failedStarts + 1);
    const failures = mishap === "death" ? this.#deaths : this.#failedStarts;
    const delayMs = failures === 1 ? 0 : Math.min(longestDelayMs, firstDelayMs * 2 ** (failures - 1));
    this.#resumeAt = performance.now() + delayMs;
    this.cancel();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      // It had been loaded before it died, and can be again.
      if (mishap === "death") this.#hasRecovered = true;
      onRested();
    }, delayMs);
  }

  /** It could be loaded: that breaks the row of failed starts. How often it has died counts on, until it has answered. */
  loaded(): void {
    this.#failedStarts = 0;
    this.#hasRecovered = true;
  }

  get resting(): boolean {
    return this.#timer !== undefined;
  }

  get gaveUp(): boolean {
    return this.#failedStarts >= toleratedFailures;
  }

  get isHopeless(): boolean {
    return this.#failedStarts >= hopelessFailures;
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

  /** Why it cannot be used now: it could not be loaded, or rests since its runner has died. */
  get failure(): LlamapodError | undefined {
    return this.#hasRecovered ? undefined : this.error;
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

  /** Lets a model rest. @param onRested called when it may be started again */
  rest(modelId: string, error: LlamapodError, mishap: Mishap, onRested: () => void): Backoff {
    const backoff = this.#backoffs.get(modelId) ?? new Backoff();
    this.#backoffs.set(modelId, backoff);
    backoff.failed(error, mishap, onRested);
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
