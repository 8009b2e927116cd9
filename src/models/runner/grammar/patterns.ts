import { automatonOf } from "./automaton.ts";
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

/**
 * A string in which patterns are found, and that has so many characters. Each state of their automaton becomes a rule: however
 * the model goes on, no more than one of them is open.
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
  const automaton = automatonOf(patterns, min, max);
  if (automaton.isEmpty) return undefined;
  const names = new Map([...automaton.nodes()].map((state) => [state, rules.reserve()]));
  let mostWays = 0;
  for (const [state, name] of names) {
    const ways = [...state.out.invert(automaton.maxCharacter)].map(([next, { ranges }]) => {
      return `${characterWithin(rules, ranges)} ${names.get(next) ?? ""}`;
    });
    rules.define(name, oneOf([...ways, automaton.finals.has(state) ? '""' : undefined]) ?? '""');
    mostWays = Math.max(mostWays, ways.length);
  }
  rules.branch(mostWays);
  return rules.add(`"\\"" ${names.get(automaton.initial) ?? ""} "\\""`);
}
