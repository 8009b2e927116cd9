import { createRequire } from "node:module";
import type * as Refa from "refa";
import type { Assertion, Concatenation, DFA, Element, Expression, NFA, NoParent, ReadonlyDFA } from "refa";

const require = createRequire(import.meta.url);

/** Takes a tenth of a second to load, for which a runner need not wait that never sees a pattern. */
const refa = (): typeof Refa => require("refa") as typeof Refa;

/** States from which on an automaton takes too long to make, and llama.cpp too long to follow. */
const mostStates = 1_000;

/** States times the ranges of the widest class of characters, of which `\p{L}` has 660. */
const mostWork = 40_000;

/** Characters are code points. */
const options = { maxCharacter: 0x10ffff };

/** Halves of a pair are none. */
const oneCharacter = "[^\\ud800-\\udfff]";

/** Regular expressions of which no automaton is made, and why. */
export class PatternError extends Error {
  override name = "PatternError";
}

/**
 * An automaton of the texts in which each of these regular expressions of ECMAScript's (with the flag `u`) is found, and that have
 * so many characters. Look-aheads are understood at the start only, where they say what else holds for the text.
 *
 * @throws {PatternError}
 */
export function automatonOf(patterns: readonly string[], min: number, max: number | undefined): ReadonlyDFA {
  const expressions = patterns.map(parse);
  const maker = new AutomatonMaker(Math.min(mostStates, Math.floor(mostWork / widestClass(expressions))));
  try {
    const found = expressions.map(({ alternatives }) => maker.holding(alternatives));
    const automaton = found.reduce((one, other) => maker.both(one, other), maker.ofLength(min, max));
    automaton.minimize();
    automaton.removeUnreachable();
    return automaton;
  } catch (thrown) {
    if (thrown instanceof refa().TooManyNodesError) throw new PatternError("it takes too many states", { cause: thrown });
    throw thrown;
  }
}

/** @throws {PatternError} for what is no regular expression, or refers to groups in earnest */
function parse(pattern: string): NoParent<Expression> {
  try {
    const parser = refa().JS.Parser.fromLiteral({ source: pattern, flags: "u" });
    return parser.parse({ backreferences: "throw", assertions: "parse", maxNodes: mostWork }).expression;
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new PatternError(reason.replace(/\.$/, ""), { cause: thrown });
  }
}

/** How many ranges the class of characters has that has the most. */
function widestClass(expressions: readonly NoParent<Expression>[]): number {
  let widest = 1;
  for (const expression of expressions) {
    refa().visitAst(expression, {
      onCharacterClassEnter: ({ characters }) => {
        widest = Math.max(widest, characters.ranges.length);
      },
    });
  }
  return widest;
}

/** @throws {PatternError} where a look-ahead, `^` or the like stands among other elements, of which no automaton is made */
function refuseAssertions(elements: readonly NoParent<Element>[]): void {
  for (const element of elements) {
    refa().visitAst(element, {
      onAssertionEnter: () => {
        throw new PatternError("it has an assertion that is not at an end of it");
      },
    });
  }
}

/** Makes automata, none of them with more than so many states. */
class AutomatonMaker {
  readonly #mostStates: number;
  readonly #refa = refa();

  constructor(mostStates: number) {
    this.#mostStates = mostStates;
  }

  /** Texts that hold one of the alternatives somewhere. */
  holding(alternatives: readonly NoParent<Concatenation>[]): DFA {
    return this.#anyOf(
      alternatives.map(({ elements }) => {
        if (isEdge(elements[0], "behind")) return this.#begunBy(elements.slice(1));
        const texts = this.#refa.NFA.fromFA(this.#begunBy(elements), this.#nfaNodes());
        texts.prepend(this.#refa.DFA.all(options), this.#nfaNodes());
        return this.#determined(texts);
      }),
    );
  }

  ofLength(min: number, max: number | undefined): DFA {
    const texts = this.#refa.NFA.fromRegex(parse(oneCharacter), options, {}, this.#nfaNodes());
    texts.quantify(min, max ?? Infinity, this.#nfaNodes());
    return this.#determined(texts);
  }

  both(one: DFA, other: DFA): DFA {
    return this.#refa.DFA.fromIntersection(one, other, this.#dfaNodes());
  }

  /** Texts that begin with these elements. */
  #begunBy(elements: readonly NoParent<Element>[]): DFA {
    const isToTheEnd = isEdge(elements.at(-1), "ahead");
    const conditions: NoParent<Assertion>[] = [];
    const rest = isToTheEnd ? elements.slice(0, -1) : [...elements];
    for (let [first] = rest; first?.type === "Assertion" && first.kind === "ahead"; [first] = rest) {
      conditions.push(first);
      rest.shift();
    }
    refuseAssertions(rest);
    const sequence = [{ type: "Concatenation" as const, elements: rest }];
    const texts = this.#refa.NFA.fromRegex(sequence, options, {}, this.#nfaNodes());
    if (!isToTheEnd) texts.append(this.#refa.DFA.all(options), this.#nfaNodes());
    return conditions.reduce((sofar, condition) => this.both(sofar, this.#fulfilling(condition)), this.#determined(texts));
  }

  /** Texts at whose start a look-ahead holds. */
  #fulfilling({ alternatives, negate }: NoParent<Assertion>): DFA {
    const texts = this.#anyOf(alternatives.map(({ elements }) => this.#begunBy(elements)));
    if (negate) texts.complement(this.#dfaNodes());
    return texts;
  }

  #anyOf(all: readonly DFA[]): DFA {
    const texts = this.#refa.NFA.empty(options);
    for (const one of all) texts.union(one, this.#nfaNodes());
    return this.#determined(texts);
  }

  #determined(texts: NFA): DFA {
    const determined = this.#refa.DFA.fromFA(texts, this.#dfaNodes());
    determined.minimize();
    return determined;
  }

  #nfaNodes(): NFA.LimitedNodeFactory {
    return new this.#refa.NFA.LimitedNodeFactory(this.#mostStates);
  }

  #dfaNodes(): DFA.LimitedNodeFactory {
    return new this.#refa.DFA.LimitedNodeFactory(this.#mostStates);
  }
}

/** Whether it is `^` or `$`: nothing may stand on that side. */
function isEdge(element: NoParent<Element> | undefined, side: Assertion["kind"]): boolean {
  if (element?.type !== "Assertion" || element.kind !== side || !element.negate) return false;
  const [only, ...others] = element.alternatives;
  const [character, ...more] = only?.elements ?? [];
  return others.length + more.length === 0 && character?.type === "CharacterClass" && character.characters.isAll;
}
