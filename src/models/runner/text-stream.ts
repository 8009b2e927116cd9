import { StopMatcher } from "./stop-matcher.ts";

/** A character takes at most this many tokens: of a byte each. */
const longestCharacterTokens = 4;

/** Pending tokens from which on those that are shown are forgotten. */
const mostPendingTokens = 16;

const replacementCharacter = "\uFFFD";

/** Turns the tokens of one answer into text, piece by piece: never half a character, never any part of a stop string. */
export class TextStream {
  readonly #detokenize: (tokens: Uint32Array) => string;
  readonly #stops: StopMatcher;
  /** The token before the pending ones: some vocabularies write a token differently at the start of a text. */
  #before: number | undefined;
  #pending: number[] = [];
  /** Characters of the pending tokens' text that have been given out. */
  #shown = 0;

  constructor(detokenize: (tokens: Uint32Array) => string, stops: readonly string[], tokenBefore: number | undefined) {
    this.#detokenize = detokenize;
    this.#stops = new StopMatcher(stops);
    this.#before = tokenBefore;
  }

  push(token: number): { text: string; stopped: boolean } {
    this.#pending.push(token);
    const rendered = this.#render();
    // However much of a character is missing, what there is of it renders as one of these.
    const isUnfinished = rendered.endsWith(replacementCharacter);
    const end = isUnfinished ? rendered.length - 1 : rendered.length;
    const text = rendered.slice(this.#shown, end);
    this.#shown = Math.max(this.#shown, end);
    if (!isUnfinished) this.#settle(0);
    else if (this.#pending.length >= mostPendingTokens) this.#settle(longestCharacterTokens);
    return this.#stops.push(text);
  }

  /** The answer has ended: gives out what was held back. */
  flush(): string {
    const { text, stopped } = this.#stops.push(this.#render().slice(this.#shown));
    this.#settle(0);
    return stopped ? text : text + this.#stops.flush();
  }

  /** Forgets all pending tokens but the last `kept`, which end in the one unfinished character if there are any. */
  #settle(kept: number): void {
    const settled = this.#pending.splice(0, this.#pending.length - kept);
    this.#before = settled.at(-1) ?? this.#before;
    this.#shown = kept === 0 ? 0 : Math.max(0, this.#render().length - 1);
  }

  #render(): string {
    const alone = this.#detokenize(Uint32Array.from(this.#pending));
    if (this.#before === undefined || this.#pending.length === 0) return alone;
    const prefix = this.#detokenize(Uint32Array.of(this.#before));
    // A space is left out at the start of a text; a control token has no text anywhere.
    if (prefix === "" && this.#detokenize(Uint32Array.of(this.#before, this.#before)) === "") return alone;
    const together = this.#detokenize(Uint32Array.of(this.#before, ...this.#pending));
    return together.startsWith(prefix) ? together.slice(prefix.length) : alone;
  }
}
