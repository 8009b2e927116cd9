/** Lets so many through in a second, and for a moment more after a time with fewer: a token bucket. */
export class Rate {
  readonly #perSecond: number;
  readonly #capacity: number;
  #available: number;
  #at = performance.now();

  constructor(perSecond: number, burstSeconds: number) {
    this.#perSecond = perSecond;
    this.#capacity = perSecond * burstSeconds;
    this.#available = this.#capacity;
  }

  take(): boolean {
    const now = performance.now();
    this.#available = Math.min(this.#capacity, this.#available + ((now - this.#at) / 1_000) * this.#perSecond);
    this.#at = now;
    if (this.#available < 1) return false;
    this.#available--;
    return true;
  }
}
