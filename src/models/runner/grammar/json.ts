import { characterOtherThan, type Rules } from "./rules.ts";

/** JSON as such. White space between two tokens is a space, or a line feed and what indents the next line. */

export const space = (rules: Rules): string => rules.add(`(" " | "\\n" ${rules.repeat("[ \\t]", 0, 20)})?`);

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
