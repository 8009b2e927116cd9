/**
 * Cuts a stream of text before the first stop string, wherever the borders of its pieces fall. Text that may yet turn out
 * to be the beginning of a stop string is held back, so that no part of one is ever seen.
 */
export class StopMatcher {
  readonly #stops: readonly string[];
  #held = "";

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** @returns the text that may be shown, and whether a stop string has ended the stream */
  push(text: string): { text: string; stopped: boolean } {
    const pending = this.#held + text;
    const stopAt = this.#firstStop(pending);
    if (stopAt !== undefined) {
      this.#held = "";
      return { text: pending.slice(0, stopAt), stopped: true };
    }
    const heldLength = Math.max(0, ...this.#stops.map((stop) => overlap(pending, stop)));
    this.#held = pending.slice(pending.length - heldLength);
    return { text: pending.slice(0, pending.length - heldLength), stopped: false };
  }

  /** The stream has ended otherwise: what was held back was no stop string after all. */
  flush(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }

  #firstStop(text: string): number | undefined {
    const found = this.#stops.map((stop) => text.indexOf(stop)).filter((index) => index >= 0);
    return found.length === 0 ? undefined : Math.min(...found);
  }
}

/** Length of the longest end of `text` that is a beginning of `stop`, but not all of it. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length;
  }
  return 0;
}
