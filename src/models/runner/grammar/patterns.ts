import type { ReadonlyDFA } from "refa";
import { automatonOf, PatternError } from "./automaton.ts";
import { characterWithin } from "./json.ts";
import { oneOf, type Rules } from "./rules.ts";

/** Patterns of which each has to be found, where schemas were combined. */
export class Patterns {
  readonly all: readonly string[];

  constructor(all: readonly string[]) {
    this.all = all;
  }
}

/** @returns undefined for what is no pattern */
export function patternsOf(value: unknown): readonly string[] | undefined {
  return value instanceof Patterns ? value.all : typeof value === "string" ? [value] : undefined;
}

/** What any automaton costs, in ranges of characters. */
const leastRanges = 2_000;

/** llama.cpp tries every token of the vocabulary with each of them. */
const mostWays = 200;

const known = new WeakMap<Rules, Map<string, string | undefined>>();

/**
 * A string in which patterns are found, and that has so many characters. Each state of their automaton becomes a rule: however
 * the model goes on, no more than one of them is open. The same patterns are made once, however often they are asked for.
 *
 * @returns undefined where there is no such string
 * @throws {PatternError}
 */
export function stringOfPatterns(
  rules: Rules,
  patterns: readonly string[],
  min: number,
  max: number | undefined,
): string | undefined {
  const made = known.get(rules) ?? new Map<string, string | undefined>();
  known.set(rules, made);
  const key = JSON.stringify([patterns, min, max]);
  if (!made.has(key)) made.set(key, make(rules, automatonOf(patterns, min, max)));
  return made.get(key);
}

function make(rules: Rules, automaton: ReadonlyDFA): string | undefined {
  const states = [...automaton.nodes()];
  rules.automaton(states.reduce((sum, { out }) => sum + out.entryCount, leastRanges));
  if (automaton.isEmpty) return undefined;
  const names = new Map(states.map((state) => [state, rules.reserve()]));
  for (const [state, name] of names) {
    const ways = [...state.out.invert(automaton.maxCharacter)].map(([next, { ranges }]) => {
      return `${characterWithin(rules, ranges)} ${names.get(next) ?? ""}`;
    });
    rules.define(name, oneOf([...ways, automaton.finals.has(state) ? '""' : undefined]) ?? '""');
    if (ways.length > mostWays)
      throw new PatternError(`it may go on in ${ways.length} ways at a place, ${mostWays} at most are followed`);
  }
  return rules.add(`"\\"" ${names.get(automaton.initial) ?? ""} "\\""`);
}
