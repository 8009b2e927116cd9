import type { ControlToken, Engine } from "./engine.ts";

/**
 * Characters that are tokenised at a time. Tokenisers take more than twice as long for twice the text where it has no
 * spaces, or characters that they do not know.
 */
const sliceLength = 8_192;

/** What C's `isspace` takes for one. */
const [spaceAtEnd, spaceAtStart] = [/[ \t-\r]+$/, /^[ \t-\r]+/];

/**
 * Turns text into tokens, a part at a time. What becomes a control token is found here and not by llama.cpp, where the time
 * for it grows with the square of their number: a request of 1 MB would take half a minute.
 */
export class Tokenizer {
  /** Matches the text of any control token. */
  readonly controlPattern: RegExp;
  readonly #engine: Engine;
  readonly #controlTokens: ReadonlyMap<string, ControlToken>;
  /** Where the vocabulary puts a space before a text: what keeps it from doing so before the rest of one. */
  readonly #anchor: { readonly text: string; readonly tokens: Uint32Array } | undefined;

  constructor(engine: Engine, controlTokens: readonly ControlToken[]) {
    this.#engine = engine;
    this.#controlTokens = new Map(controlTokens.map((token) => [token.text, token]));
    this.controlPattern = anyOf([...this.#controlTokens.keys()]);
    const [first] = engine.tokenize("a");
    const addsSpace = first !== undefined && engine.tokenText(first).startsWith("\u2581");
    this.#anchor = addsSpace ? { text: "\n", tokens: engine.tokenize("\n") } : undefined;
  }

  /**
   * @param finish makes the final text of what lies between two control tokens; nothing in it becomes one
   * @returns the tokens in order, in parts that take a bounded time each
   */
  *read(text: string, finish: (plain: string) => string): Generator<Uint32Array> {
    let parts: Uint32Array[] = [];
    let work = 0;
    for (const piece of this.#pieces(text)) {
      const slices = typeof piece === "string" ? this.#slices(finish(piece)) : [{ tokens: Uint32Array.of(piece.id), length: 1 }];
      for (const { tokens, length } of slices) {
        parts.push(tokens);
        work += length;
        if (work < sliceLength) continue;
        yield concatenate(parts);
        [parts, work] = [[], 0];
      }
    }
    yield concatenate(parts);
  }

  /** Some control tokens swallow the spaces beside them. */
  *#pieces(text: string): Generator<string | ControlToken> {
    let position = 0;
    let stripsRight = false;
    const plain = (end: number, stripsLeft: boolean): string => {
      const piece = text.slice(position, end).replace(stripsRight ? spaceAtStart : "", "");
      return stripsLeft ? piece.replace(spaceAtEnd, "") : piece;
    };
    for (const { 0: found, index } of text.matchAll(this.controlPattern)) {
      const token = this.#controlTokens.get(found);
      if (token === undefined) continue;
      yield plain(index, token.stripsLeft);
      yield token;
      position = index + found.length;
      stripsRight = token.stripsRight;
    }
    yield plain(text.length, false);
  }

  *#slices(text: string): Generator<{ readonly tokens: Uint32Array; readonly length: number }> {
    let begin = 0;
    while (begin < text.length) {
      const length = sliceEnd(text.slice(begin, begin + sliceLength + 1));
      const slice = text.slice(begin, begin + length);
      yield { tokens: begin === 0 ? this.#engine.tokenize(slice) : this.#continue(slice), length };
      begin += length;
    }
  }

  #continue(slice: string): Uint32Array {
    if (this.#anchor === undefined) return this.#engine.tokenize(slice);
    const { text, tokens: anchor } = this.#anchor;
    const tokens = this.#engine.tokenize(text + slice);
    return anchor.every((token, index) => tokens[index] === token)
      ? tokens.subarray(anchor.length)
      : this.#engine.tokenize(slice);
  }
}

const [letter, wordEnd] = [/\p{L}/u, /[\p{L}\p{N}]/u];

/** @returns where to cut a text: before a word, where no tokeniser joins anything, or else anywhere but in a character */
function sliceEnd(text: string): number {
  if (text.length <= sliceLength) return text.length;
  for (let end = sliceLength - 1; end > 0; end--) {
    if (text[end] === " " && wordEnd.test(text[end - 1] ?? "") && letter.test(text[end + 1] ?? "")) return end;
  }
  const isSurrogatePair = (text.codePointAt(sliceLength - 1) ?? 0) > 0xffff;
  return isSurrogatePair ? sliceLength - 1 : sliceLength;
}

/** The longest alternative wins, as in llama.cpp's tokenizer. */
export function anyOf(texts: readonly string[]): RegExp {
  const alternatives = texts.filter((text) => text !== "").sort((a, b) => b.length - a.length);
  return alternatives.length === 0 ? /(?!)/g : new RegExp(alternatives.map(escapeForRegExp).join("|"), "g");
}

function escapeForRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

export function concatenate(parts: readonly Uint32Array[]): Uint32Array {
  const whole = new Uint32Array(parts.reduce((length, part) => length + part.length, 0));
  let position = 0;
  for (const part of parts) {
    whole.set(part, position);
    position += part.length;
  }
  return whole;
}
