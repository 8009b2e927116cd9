/** Passes on one value in `everyMs` at most. Of those that come too soon the last one follows when its time has come. */
export class Throttle<Value> {
  readonly #everyMs: number;
  readonly #pass: (value: Value) => void;
  #late: { value: Value } | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(everyMs: number, pass: (value: Value) => void) {
    this.#everyMs = everyMs;
    this.#pass = pass;
  }

  push(value: Value): void {
    if (this.#timer === undefined) this.#passOn(value);
    else this.#late = { value };
  }

  /** Forgets what has not been passed on. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#late = undefined;
  }

  #passOn(value: Value): void {
    this.#pass(value);
    this.#timer = setTimeout(() => {
      const late = this.#late;
      this.stop();
      if (late !== undefined) this.#passOn(late.value);
    }, this.#everyMs);
  }
}
