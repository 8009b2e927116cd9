import { readHeader, readWhole, type Header } from "./call-header.ts";

/** What an answer is made of: its text, and calls, each with its name first and then its arguments. */
export type Piece =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "call"; readonly index: number; readonly name: string }
  | { readonly kind: "arguments"; readonly index: number; readonly text: string };

const [opening, closing] = ["<tool_call>", "</tool_call>"];

type State =
  /** What may still become the beginning of a call is held back. */
  | { readonly name: "text" }
  /** After the opening mark. */
  | { readonly name: "header" }
  /** The beginning is not the usual one: it is read when all of it is there. */
  | { readonly name: "whole" }
  | { readonly name: "arguments"; readonly isMarked: boolean; depth: number; isInText: boolean; isEscaped: boolean }
  | { readonly name: "after"; readonly isMarked: boolean };

/**
 * Takes the calls out of what a model writes, piece by piece: `<tool_call>{"name": ..., "arguments": ...}</tool_call>` anywhere, as
 * Hermes and Qwen write them, or nothing but the object, as Llama 3 does. No part of a call is ever given out as text.
 */
export class CallReader {
  readonly #names: ReadonlySet<string>;
  readonly #mostCalls: number;
  #state: State = { name: "text" };
  #pending = "";
  #count = 0;
  /** Whether there is other text than white space since the last call, if any: an object in it is no call. */
  #isPlain = false;

  /** @param names of the tools: an object without marks is a call only of one of them */
  constructor(names: readonly string[], mostCalls: number) {
    this.#names = new Set(names);
    this.#mostCalls = mostCalls;
  }

  get hasCalls(): boolean {
    return this.#count > 0;
  }

  push(text: string): Piece[] {
    this.#pending += text;
    const pieces: Piece[] = [];
    while (this.#advance(pieces));
    return this.#withinLimit(pieces);
  }

  /** @param isCut the answer was ended before the model had finished: half a call is none then */
  end(isCut: boolean): Piece[] {
    const pending = this.#pending;
    const { name } = this.#state;
    this.#pending = "";
    if (name === "text") return this.#textPieces(pending);
    if (name !== "header" && name !== "whole") return [];
    const calls = this.#wholeCalls(pending.replace(/<[^<]*$/, ""));
    if (calls !== undefined) return this.#withinLimit(calls);
    return isCut ? [] : this.#textPieces(opening + pending);
  }

  /** @returns whether there may be more to do with what is pending */
  #advance(pieces: Piece[]): boolean {
    switch (this.#state.name) {
      case "text":
        return this.#advanceText(pieces);
      case "header":
        return this.#advanceHeader(pieces);
      case "whole":
        return this.#advanceWhole(pieces);
      case "arguments":
        return this.#advanceArguments(pieces, this.#state);
      case "after":
        return this.#advanceAfter(this.#state.isMarked);
    }
  }

  #advanceText(pieces: Piece[]): boolean {
    if (!this.#isPlain && /^\s*(\{|$)/.test(this.#pending)) {
      if (this.#pending.trim() === "") return false;
      const begun = this.#begin(pieces, false);
      if (begun !== "other") return begun === "call";
      this.#isPlain = true;
    }
    const at = this.#pending.indexOf(opening);
    const isFound = at >= 0;
    const end = isFound ? this.#pending.slice(0, at).trimEnd().length : this.#pending.length - heldLength(this.#pending);
    pieces.push(...this.#textPieces(this.#pending.slice(0, end)));
    this.#pending = this.#pending.slice(isFound ? at + opening.length : end);
    if (isFound) this.#state = { name: "header" };
    return isFound;
  }

  #advanceHeader(pieces: Piece[]): boolean {
    const begun = this.#begin(pieces, true);
    if (begun === "other") this.#state = { name: "whole" };
    return begun !== "partial";
  }

  #begin(pieces: Piece[], isMarked: boolean): Header["kind"] {
    const header = readHeader(this.#pending);
    if (header.kind !== "call") return header.kind;
    if (!isMarked && !this.#names.has(header.name)) return "other";
    pieces.push({ kind: "call", index: this.#count++, name: header.name });
    this.#pending = this.#pending.slice(header.length);
    this.#state = { name: "arguments", isMarked, depth: 0, isInText: false, isEscaped: false };
    return "call";
  }

  #advanceWhole(pieces: Piece[]): boolean {
    const at = this.#pending.indexOf(closing);
    if (at < 0) return false;
    const written = this.#pending.slice(0, at);
    pieces.push(...(this.#wholeCalls(written) ?? this.#textPieces(`${opening}${written}${closing}`)));
    this.#pending = this.#pending.slice(at + closing.length);
    this.#state = { name: "text" };
    return true;
  }

  #advanceArguments(pieces: Piece[], state: Extract<State, { name: "arguments" }>): boolean {
    let length = 0;
    for (const character of this.#pending) {
      length += character.length;
      if (state.isEscaped) state.isEscaped = false;
      else if (state.isInText) {
        if (character === "\\") state.isEscaped = true;
        else if (character === '"') state.isInText = false;
      } else if (character === '"') state.isInText = true;
      else if (character === "{" || character === "[") state.depth++;
      else if (character === "}" || character === "]") state.depth--;
      if (state.depth === 0) break;
    }
    if (length > 0) pieces.push({ kind: "arguments", index: this.#count - 1, text: this.#pending.slice(0, length) });
    this.#pending = this.#pending.slice(length);
    if (state.depth > 0) return false;
    this.#state = { name: "after", isMarked: state.isMarked };
    return true;
  }

  /** What closes a call is no text either. */
  #advanceAfter(isMarked: boolean): boolean {
    const end = isMarked ? closing : "}";
    const at = this.#pending.indexOf(end);
    if (at < 0) return false;
    this.#pending = this.#pending.slice(at + end.length).replace(isMarked ? "" : /^\s*[;,]/, "");
    this.#state = { name: "text" };
    this.#isPlain = false;
    return true;
  }

  #withinLimit(pieces: readonly Piece[]): Piece[] {
    return pieces.filter((piece) => piece.kind === "text" || piece.index < this.#mostCalls);
  }

  #wholeCalls(written: string): Piece[] | undefined {
    return readWhole(written)?.flatMap(({ name, arguments: text }) => {
      const index = this.#count++;
      return [{ kind: "call", index, name } as const, { kind: "arguments", index, text } as const];
    });
  }

  #textPieces(text: string): Piece[] {
    if (text === "" || (this.hasCalls && text.trim() === "")) return [];
    if (text.trim() !== "") this.#isPlain = true;
    return [{ kind: "text", text }];
  }
}

/** How much of the end of a text may be the beginning of a call, with the white space before it. */
function heldLength(text: string): number {
  let length = Math.min(text.length, opening.length - 1);
  while (length > 0 && !text.endsWith(opening.slice(0, length))) length--;
  return text.length - text.slice(0, text.length - length).trimEnd().length;
}
