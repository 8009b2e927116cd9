import { StopMatcher } from "./stop-matcher.ts";

/** A character takes at most this many byte tokens; what is still broken then is broken for good. */
const longestCharacterTokens = 4;

const replacementCharacter = "\uFFFD";

/** Turns the tokens of one answer into text, piece by piece: never half a character, never any part of a stop string. */
export class TextStream {
  readonly #detokenize: (tokens: Uint32Array) => string;
  readonly #stops: StopMatcher;
  /** The token before the pending ones: some vocabularies write a token differently at the start of a text. */
  #before: number | undefined;
  #pending: number[] = [];

  constructor(detokenize: (tokens: Uint32Array) => string, stops: readonly string[], tokenBefore: number | undefined) {
    this.#detokenize = detokenize;
    this.#stops = new StopMatcher(stops);
    this.#before = tokenBefore;
  }

  push(token: number): { text: string; stopped: boolean } {
    this.#pending.push(token);
    const text = this.#render();
    if (text.endsWith(replacementCharacter) && this.#pending.length < longestCharacterTokens) return { text: "", stopped: false };
    this.#settle();
    return this.#stops.push(text);
  }

  /** The answer has ended: gives out what was held back. */
  flush(): string {
    const { text, stopped } = this.#stops.push(this.#render());
    this.#settle();
    return stopped ? text : text + this.#stops.flush();
  }

  #settle(): void {
    this.#before = this.#pending.at(-1) ?? this.#before;
    this.#pending = [];
  }

  #render(): string {
    const alone = this.#detokenize(Uint32Array.from(this.#pending));
    if (this.#before === undefined || this.#pending.length === 0) return alone;
    const prefix = this.#detokenize(Uint32Array.of(this.#before));
    if (prefix === "") return alone;
    const together = this.#detokenize(Uint32Array.of(this.#before, ...this.#pending));
    return together.startsWith(prefix) ? together.slice(prefix.length) : alone;
  }
}
