/** What llama.cpp makes of a grammar grows with its rules, of which a repetition is as many as it may repeat. */
const mostRules = 20_000;

/** Where any of so many may come next, llama.cpp tries every token of the vocabulary with each of them: seconds, if there were more. */
const mostAlternatives = 200;

/** Making automata takes time, in which no answer goes on: about a second, if there were more. In ranges of characters. */
const mostRanges = 80_000;

/** llama.cpp takes a larger maximum for none at all. */
export const mostRepetitions = 2_000;

/** Rules in llama.cpp's notation (GBNF). The same body is one rule, however often it is asked for. */
export class Rules {
  readonly #bodies = new Map<string, string>();
  readonly #names = new Map<string, string>();
  readonly #tooMany: () => Error;
  #count = 0;
  #alternatives = 0;
  #ranges = 0;

  /** @param tooMany what is thrown when there would be more rules than are good for the process */
  constructor(tooMany: () => Error) {
    this.#tooMany = tooMany;
  }

  /** @returns a name for the expression, which can be repeated or put into another one */
  add(body: string): string {
    if (/^r\d+$/.test(body)) return body;
    const known = this.#names.get(body);
    if (known !== undefined) return known;
    const name = this.reserve();
    this.define(name, body);
    this.#names.set(body, name);
    return name;
  }

  /** A name that is used before it is defined, as recursion needs it. */
  reserve(): string {
    this.#grow(1);
    return `r${this.#count}`;
  }

  define(name: string, body: string): void {
    this.#bodies.set(name, body);
  }

  /** Between `min` and `max` times; as often as is liked without a maximum. */
  repeat(body: string, min: number, max: number | undefined): string {
    if (max === 0) return '""';
    const item = this.add(body);
    if (min === 0 && max === undefined) return `${item}*`;
    const repetition = `${item}{${min},${max ?? ""}}`;
    if (!this.#names.has(repetition)) this.#grow(max ?? min);
    return this.add(repetition);
  }

  /** Counts what the model may choose from that begins in the same way. */
  branch(alternatives: number): void {
    this.#alternatives += alternatives;
    if (this.#alternatives > mostAlternatives) throw this.#tooMany();
  }

  /** Counts what an automaton was made of. */
  automaton(ranges: number): void {
    this.#ranges += ranges;
    if (this.#ranges > mostRanges) throw this.#tooMany();
  }

  /** The whole grammar. */
  text(root: string): string {
    return [`root ::= ${root}`, ...[...this.#bodies].map(([name, body]) => `${name} ::= ${body}`)].join("\n");
  }

  #grow(rules: number): void {
    this.#count += rules;
    if (this.#count > mostRules) throw this.#tooMany();
  }
}

const escapes: Readonly<Record<string, string>> = { '"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Exactly this text. */
export function literal(text: string): string {
  return `"${text.replace(/["\\\n\r\t]/g, (character) => escapes[character] ?? character)}"`;
}

/** Exactly one of these texts. What several begin with is written once, so that each token is tried once. */
export function anyText(rules: Rules, texts: readonly string[]): string {
  return anySequence(
    rules,
    texts.map((text) => Array.from(text)),
  );
}

function anySequence(rules: Rules, texts: readonly (readonly string[])[]): string {
  const [first = [], ...others] = texts;
  if (others.length === 0) return literal(first.join(""));
  const different = first.findIndex((character, index) => others.some((text) => text[index] !== character));
  const shared = different < 0 ? first.length : different;
  const rests = new Map<string, (readonly string[])[]>();
  for (const text of texts) {
    const next = text[shared] ?? "";
    rests.set(next, [...(rests.get(next) ?? []), text.slice(shared)]);
  }
  const alternatives = [...rests].map(([next, group]) => (next === "" ? '""' : anySequence(rules, group)));
  return `${literal(first.slice(0, shared).join(""))} ${rules.add(alternatives.join(" | "))}`;
}

/** From one code point to another, both included. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

/** One of these characters; undefined where there are none. */
export function characterOf(ranges: readonly Range[]): string | undefined {
  const some = ranges.filter(({ min, max }) => min <= max);
  return some.length === 0 ? undefined : `[${some.map(({ min, max }) => `${code(min)}-${code(max)}`).join("")}]`;
}

function code(point: number): string {
  return `\\U${point.toString(16).padStart(8, "0")}`;
}

/** Either of them; undefined where there is none. */
export function oneOf(alternatives: readonly (string | undefined)[]): string | undefined {
  const distinct = [...new Set(alternatives.filter((alternative) => alternative !== undefined))];
  return distinct.length < 2 ? distinct[0] : `(${distinct.join(" | ")})`;
}
