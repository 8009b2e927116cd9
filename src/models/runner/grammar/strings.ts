import { character, string } from "./json.ts";
import { oneOf, type Rules } from "./rules.ts";

/** @param min in characters, as `max` */
export function stringOfLength(rules: Rules, min: number, max: number | undefined): string {
  if (min === 0 && max === undefined) return string(rules);
  return rules.add(`"\\"" ${rules.repeat(character(rules), min, max)} "\\""`);
}

/** What stands between the quotes. Each is a part of what the format allows, and holds what is usually written. */
const formats: Readonly<Record<string, (rules: Rules) => string>> = {
  date,
  time,
  "date-time": (rules) => `${date(rules)} "T" ${time(rules)}`,
  uuid: (rules) => [8, 4, 4, 4, 12].map((digits) => rules.repeat("[0-9a-fA-F]", digits, digits)).join(' "-" '),
  ipv4: (rules) => Array<string>(4).fill(octet(rules)).join(' "." '),
  ipv6: (rules) =>
    Array<string>(8)
      .fill(rules.repeat("[0-9a-fA-F]", 1, 4))
      .join(' ":" '),
  hostname,
  email: (rules) => `[a-zA-Z0-9] ${rules.repeat("[a-zA-Z0-9] | [._+-] [a-zA-Z0-9]", 0, 30)} "@" ${hostname(rules)}`,
  duration: (rules) => {
    const count = rules.repeat("[0-9]", 1, 4);
    const [days, clock] = [inOrder(rules, count, ["Y", "M", "D"]), inOrder(rules, count, ["H", "M", "S"])];
    return `"P" (${days} ("T" ${clock})? | "T" ${clock} | ${count} "W")`;
  },
};

/** @returns undefined where the format is none of those that can be enforced */
export function stringOfFormat(rules: Rules, format: string): string | undefined {
  const inside = Object.hasOwn(formats, format) ? formats[format]?.(rules) : undefined;
  return inside === undefined ? undefined : rules.add(`"\\"" ${inside} "\\""`);
}

/** Every day of every year but 29 February, which not every year has. */
function date(rules: Rules): string {
  const day = '("0" [1-9] | [12] [0-9] | "30")';
  const month = [
    `("01" | "03" | "05" | "07" | "08" | "10" | "12") "-" (${day} | "31")`,
    `("04" | "06" | "09" | "11") "-" ${day}`,
    `"02-" ("0" [1-9] | "1" [0-9] | "2" [0-8])`,
  ];
  return rules.add(`${rules.repeat("[0-9]", 4, 4)} "-" (${month.join(" | ")})`);
}

function time(rules: Rules): string {
  const minutes = '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9]';
  return rules.add(`${minutes} ":" [0-5] [0-9] ("." ${rules.repeat("[0-9]", 1, 6)})? ("Z" | [+-] ${minutes})`);
}

function octet(rules: Rules): string {
  return rules.add('"25" [0-5] | "2" [0-4] [0-9] | "1" [0-9] [0-9] | [1-9]? [0-9]');
}

function hostname(rules: Rules): string {
  const label = rules.add(`[a-zA-Z0-9] ${rules.repeat('"-"? [a-zA-Z0-9]', 0, 25)}`);
  return `${label} ${rules.repeat(`"." ${label}`, 0, 3)} "." ${rules.repeat("[a-zA-Z]", 2, 10)}`;
}

/** Some of the units, at least one, the larger ones first. */
function inOrder(rules: Rules, count: string, units: readonly string[]): string {
  const beginnings = units.map((unit, index) => {
    // After years come months, and then days: ISO 8601 as RFC 3339 has it leaves none out in between.
    const following = units.slice(index + 1).reduceRight((rest, next) => `(${count} "${next}" ${rest})?`, "");
    return `${count} "${unit}" ${following}`;
  });
  return rules.add(oneOf(beginnings) ?? '""');
}
