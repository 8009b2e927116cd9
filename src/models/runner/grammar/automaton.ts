import {
  DFA,
  JS,
  NFA,
  TooManyNodesError,
  type Assertion,
  type Concatenation,
  type Element,
  type NoParent,
  type ReadonlyDFA,
} from "refa";

/** States from which on an automaton takes too long to make, and llama.cpp too long to follow. */
const mostStates = 2_000;

/** Ranges of characters on all of its ways. */
const mostRanges = 20_000;

/** Characters are code points. */
const options = { maxCharacter: 0x10ffff };

/** Halves of a pair are none. */
const oneCharacter = "[^\\ud800-\\udfff]";

/** A regular expression of which no automaton is made, and why. */
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
  try {
    const found = patterns.map((pattern) => holding(alternativesOf(pattern)));
    const automaton = found.reduce(both, ofLength(min, max));
    automaton.minimize();
    automaton.removeUnreachable();
    const ranges = [...automaton.nodes()].reduce((sum, { out }) => sum + out.entryCount, 0);
    if (ranges > mostRanges) throw new Error(`it has ${ranges} ranges of characters, ${mostRanges} at most are followed`);
    return automaton;
  } catch (thrown) {
    throw new PatternError(reasonOf(thrown), { cause: thrown });
  }
}

function alternativesOf(pattern: string): readonly NoParent<Concatenation>[] {
  const parser = JS.Parser.fromLiteral({ source: pattern, flags: "u" });
  return parser.parse({ backreferences: "throw", assertions: "parse" }).expression.alternatives;
}

function reasonOf(thrown: unknown): string {
  if (thrown instanceof TooManyNodesError) return "it takes too many states";
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return reason.startsWith("Assertions") ? "it has an assertion that is not at an end of it" : reason.replace(/\.$/, "");
}

/** Texts that hold one of the alternatives somewhere. */
function holding(alternatives: readonly NoParent<Concatenation>[]): DFA {
  return anyOf(
    alternatives.map(({ elements }) => {
      if (isEdge(elements[0], "behind")) return begunBy(elements.slice(1));
      const texts = NFA.fromFA(begunBy(elements), nfaNodes());
      texts.prepend(anything(), nfaNodes());
      return DFA.fromFA(texts, dfaNodes());
    }),
  );
}

/** Texts that begin with these elements. */
function begunBy(elements: readonly NoParent<Element>[]): DFA {
  const isToTheEnd = isEdge(elements.at(-1), "ahead");
  const conditions: NoParent<Assertion>[] = [];
  const rest = isToTheEnd ? elements.slice(0, -1) : [...elements];
  for (let [first] = rest; first?.type === "Assertion" && first.kind === "ahead"; [first] = rest) {
    conditions.push(first);
    rest.shift();
  }
  const texts = NFA.fromRegex([{ type: "Concatenation", elements: rest }], options, { assertions: "throw" }, nfaNodes());
  if (!isToTheEnd) texts.append(anything(), nfaNodes());
  return conditions.reduce((sofar, condition) => both(sofar, fulfilling(condition)), DFA.fromFA(texts, dfaNodes()));
}

/** Texts at whose start a look-ahead holds. */
function fulfilling({ alternatives, negate }: NoParent<Assertion>): DFA {
  const texts = anyOf(alternatives.map(({ elements }) => begunBy(elements)));
  if (negate) texts.complement(dfaNodes());
  return texts;
}

/** Whether it is `^` or `$`: nothing may stand on that side. */
function isEdge(element: NoParent<Element> | undefined, side: Assertion["kind"]): boolean {
  if (element?.type !== "Assertion" || element.kind !== side || !element.negate) return false;
  const [only, ...others] = element.alternatives;
  const [character, ...more] = only?.elements ?? [];
  return others.length + more.length === 0 && character?.type === "CharacterClass" && character.characters.isAll;
}

function ofLength(min: number, max: number | undefined): DFA {
  const texts = NFA.fromRegex(alternativesOf(oneCharacter), options, {}, nfaNodes());
  texts.quantify(min, max ?? Infinity, nfaNodes());
  return DFA.fromFA(texts, dfaNodes());
}

function anything(): DFA {
  return DFA.all(options);
}

function anyOf(all: readonly DFA[]): DFA {
  const texts = NFA.empty(options);
  for (const one of all) texts.union(one, nfaNodes());
  return DFA.fromFA(texts, dfaNodes());
}

function both(one: DFA, other: DFA): DFA {
  return DFA.fromIntersection(one, other, dfaNodes());
}

const nfaNodes = (): NFA.LimitedNodeFactory => new NFA.LimitedNodeFactory(mostStates);
const dfaNodes = (): DFA.LimitedNodeFactory => new DFA.LimitedNodeFactory(mostStates);
