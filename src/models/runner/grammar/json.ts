import { anyText, characterOf, oneOf, type Range, type Rules } from "./rules.ts";

/** JSON as such. White space between two tokens is a space, or a line feed and what indents the next line. */

export const space = (rules: Rules): string => rules.add(`(" " | "\\n" ${rules.repeat("[ \\t]", 0, 20)})?`);

/** What stands for itself in a string. */
const plainCharacters: readonly Range[] = [
  { min: 0x20, max: 0x21 },
  { min: 0x23, max: 0x5b },
  { min: 0x5d, max: 0xd7ff },
  { min: 0xe000, max: 0x10ffff },
];

/** What does not, but for the halves of surrogate pairs, and how it is written. */
const escapedCharacters = [...Array(0x20).keys(), 0x22, 0x5c].map((point) => ({
  point,
  text: JSON.stringify(String.fromCodePoint(point)).slice(1, -1),
}));

/** One of the characters that stand for themselves in a string, but for those that are excluded. */
export function characterOtherThan(excluded: Iterable<string>): string {
  const gaps = [...excluded].map((character) => character.codePointAt(0) ?? 0).sort((a, b) => a - b);
  const ranges = plainCharacters.flatMap(({ min, max }) => {
    const inside = gaps.filter((point) => point >= min && point <= max);
    return [min - 1, ...inside].map((before, index) => ({ min: before + 1, max: (inside[index] ?? max + 1) - 1 }));
  });
  return characterOf(ranges) ?? "[]";
}

/** One character of a string that lies within one of the ranges, written in the usual way. */
export function characterWithin(rules: Rules, ranges: readonly Range[]): string {
  const plain = ranges.flatMap(({ min, max }) =>
    plainCharacters.map((other) => ({ min: Math.max(min, other.min), max: Math.min(max, other.max) })),
  );
  const escaped = escapedCharacters.filter(({ point }) => ranges.some(({ min, max }) => min <= point && point <= max));
  const texts = escaped.map(({ text }) => text);
  return rules.add(oneOf([characterOf(plain), texts.length === 0 ? undefined : anyText(rules, texts)]) ?? '""');
}

/** One character of a string. Half a surrogate pair is none, so that the grammar counts characters as JSON Schema does. */
export const character = (rules: Rules): string => {
  const code = rules.add("[0-9a-cA-CefEF] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] | [dD] [0-7] [0-9a-fA-F] [0-9a-fA-F]");
  return rules.add(`${characterOtherThan([])} | "\\\\" (["\\\\/bfnrt] | "u" ${code})`);
};

export const string = (rules: Rules): string => rules.add(`"\\"" ${rules.repeat(character(rules), 0, undefined)} "\\""`);

/** Digits enough for what a double tells apart. */
export const mostDigits = 15;

export const integer = (rules: Rules): string => rules.add(`"-"? ("0" | [1-9] ${rules.repeat("[0-9]", 0, mostDigits - 1)})`);

export const number = (rules: Rules): string => {
  const fraction = `("." ${rules.repeat("[0-9]", 1, mostDigits)})?`;
  return rules.add(`${integer(rules)} ${fraction} ([eE] [-+]? [0-9] [0-9]?)?`);
};

/** Any value at all. */
export function anyValue(rules: Rules): string {
  const value = rules.add(
    `${anyObject(rules)} | ${anyArray(rules)} | ${string(rules)} | ${number(rules)} | "true" | "false" | "null"`,
  );
  return value;
}

export function anyObject(rules: Rules): string {
  return containers(rules).object;
}

export function anyArray(rules: Rules): string {
  return containers(rules).array;
}

const known = new WeakMap<Rules, { readonly object: string; readonly array: string }>();

/** Both hold values, which may be one of them: they come together. */
function containers(rules: Rules): { readonly object: string; readonly array: string } {
  const made = known.get(rules);
  if (made !== undefined) return made;
  const both = { object: rules.reserve(), array: rules.reserve() };
  known.set(rules, both);
  const ws = space(rules);
  const value = anyValue(rules);
  const member = rules.add(`${string(rules)} ":" ${ws} ${value}`);
  rules.define(both.object, `"{" ${ws} (${member} ("," ${ws} ${member})* ${ws})? "}"`);
  rules.define(both.array, `"[" ${ws} (${value} ("," ${ws} ${value})* ${ws})? "]"`);
  return both;
}
