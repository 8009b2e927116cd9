import { integer, mostDigits, number } from "./json.ts";
import { oneOf, type Rules } from "./rules.ts";

export interface Bounds {
  readonly min: number | undefined;
  readonly max: number | undefined;
  readonly exclusiveMin: number | undefined;
  readonly exclusiveMax: number | undefined;
}

interface Limit {
  /** Digits before the point, and after it without the zeros at the end. */
  readonly whole: string;
  readonly fraction: string;
  /** The limit itself is not allowed. */
  readonly isOpen: boolean;
  /** Digits that may be written after the point: with more, a double is no longer certain to be on this side of the limit. */
  readonly room: number;
}

/** Beyond what the digits of a number without bounds can say, no bound has an effect. */
const beyondDigits = 10 ** mostDigits;

/** @returns undefined where no integer lies within the bounds */
export function integerWithin(rules: Rules, bounds: Bounds): string | undefined {
  const least = Math.max(
    bounds.min === undefined ? -Infinity : Math.ceil(bounds.min),
    bounds.exclusiveMin === undefined ? -Infinity : Math.floor(bounds.exclusiveMin) + 1,
  );
  const most = Math.min(
    bounds.max === undefined ? Infinity : Math.floor(bounds.max),
    bounds.exclusiveMax === undefined ? Infinity : Math.ceil(bounds.exclusiveMax) - 1,
  );
  if (least > most) return undefined;
  if (least <= -beyondDigits && most >= beyondDigits) return integer(rules);
  const negative = least < 0 ? wholeBetween(rules, Math.max(1, -most), -least) : undefined;
  const positive = most >= 0 ? wholeBetween(rules, Math.max(0, least), most) : undefined;
  return oneOf([negative === undefined ? undefined : `"-" ${negative}`, positive]);
}

/**
 * Written without an exponent.
 *
 * @returns undefined where nothing lies within the bounds that can be written with so many digits
 */
export function numberWithin(rules: Rules, bounds: Bounds): string | undefined {
  const [least, mayBeLeast] = tighter(bounds.min, bounds.exclusiveMin, Math.max);
  const [most, mayBeMost] = tighter(bounds.max, bounds.exclusiveMax, Math.min);
  if (least <= -beyondDigits && most >= beyondDigits) return number(rules);
  if (least > most || (least === most && !(mayBeLeast && mayBeMost))) return undefined;
  if (![least, most].every(canBeWritten)) return undefined;
  const zero = (isOpen: boolean): Limit => ({ whole: "0", fraction: "", isOpen, room: mostDigits - 1 });
  const [low, high] = [limitAt(least, !mayBeLeast), limitAt(most, !mayBeMost)];
  const negative = least < 0 ? magnitude(rules, most < 0 ? high : zero(true), low) : undefined;
  const isAboveZero = least > 0 || (least === 0 && !mayBeLeast);
  const positive = most >= 0 ? magnitude(rules, isAboveZero ? low : zero(false), high) : undefined;
  return oneOf([negative === undefined ? undefined : `"-" ${negative}`, positive]);
}

function tighter(
  closed: number | undefined,
  open: number | undefined,
  choose: (a: number, b: number) => number,
): [limit: number, isAllowed: boolean] {
  const none = choose === Math.max ? -Infinity : Infinity;
  const limit = choose(closed ?? none, open ?? none);
  return [limit, limit !== open];
}

function canBeWritten(value: number): boolean {
  if (Math.abs(value) >= beyondDigits) return true;
  const { whole, fraction, room } = digitsOf(value);
  return Number(`${whole}.${fraction}`) === Math.abs(value) && fraction.length <= room;
}

function digitsOf(value: number): Omit<Limit, "isOpen"> {
  // The shortest form that reads back as the same double, which for small ones has an exponent.
  const shortest = String(Math.abs(value));
  const [whole = "0", fraction = ""] = (shortest.includes("e") ? Math.abs(value).toFixed(mostDigits) : shortest).split(".");
  return { whole, fraction: fraction.replace(/0+$/, ""), room: mostDigits - whole.length };
}

/** Without a sign; undefined for one that is as good as none. */
function limitAt(value: number, isOpen: boolean): Limit | undefined {
  return Math.abs(value) >= beyondDigits ? undefined : { ...digitsOf(value), isOpen };
}

/** A number without a sign. Without `high` there is no end. */
function magnitude(rules: Rules, low: Limit | undefined, high: Limit | undefined): string | undefined {
  if (low === undefined) return undefined;
  if (low.whole === high?.whole) return joined(low.whole, fractionBetween(rules, low, high));
  const between = wholeBetween(rules, Number(low.whole) + 1, high === undefined ? Infinity : Number(high.whole) - 1);
  return oneOf([
    joined(low.whole, fractionFrom(rules, low)),
    between === undefined ? undefined : `${between} ${anyFraction(rules, (high ?? low).room)}`,
    high === undefined ? undefined : joined(high.whole, fractionUpTo(rules, high)),
  ]);
}

/** An integer without a sign. */
function wholeBetween(rules: Rules, least: number, most: number): string | undefined {
  if (least > most) return undefined;
  const [first, last] = [String(least), most >= beyondDigits ? "9".repeat(mostDigits) : String(most)];
  const lengths = Array.from({ length: last.length - first.length + 1 }, (_, index) => first.length + index);
  return oneOf(
    lengths.map((length) => {
      const from = length === first.length ? first : `1${"0".repeat(length - 1)}`;
      const to = length === last.length ? last : "9".repeat(length);
      return digitsBetween(rules, from, to);
    }),
  );
}

/** As many digits as both have. */
function digitsBetween(rules: Rules, from: string, to: string): string {
  if (from === "") return '""';
  if (/^0+$/.test(from) && /^9+$/.test(to)) return rules.repeat("[0-9]", from.length, from.length);
  const [a, b] = [Number(from[0]), Number(to[0])];
  const [fromRest, toRest] = [from.slice(1), to.slice(1)];
  if (a === b) return `"${a}" ${digitsBetween(rules, fromRest, toRest)}`;
  const zeros = "0".repeat(fromRest.length);
  const nines = "9".repeat(fromRest.length);
  const lowest = fromRest === zeros ? a : a + 1;
  const highest = toRest === nines ? b : b - 1;
  const alternatives = [
    lowest === a ? undefined : `"${a}" ${digitsBetween(rules, fromRest, nines)}`,
    lowest > highest ? undefined : `[${lowest}-${highest}] ${digitsBetween(rules, zeros, nines)}`,
    highest === b ? undefined : `"${b}" ${digitsBetween(rules, zeros, toRest)}`,
  ];
  return oneOf(alternatives) ?? '""';
}

const zeros = (rules: Rules, least: 0 | 1, room: number): string => rules.repeat('"0"', least, room);
const digits = (rules: Rules, room: number): string => rules.repeat("[0-9]", 0, room);

function anyFraction(rules: Rules, room: number): string {
  return room === 0 ? '""' : `("." ${rules.repeat("[0-9]", 1, room)})?`;
}

/** Digits of which one is not zero. */
function notZero(rules: Rules, room: number): string | undefined {
  return room === 0 ? undefined : `${zeros(rules, 0, room - 1)} [1-9] ${digits(rules, room - 1)}`;
}

function joined(text: string, rest: string | undefined): string | undefined {
  return rest === undefined ? undefined : `"${text}" ${rest}`;
}

function fractionFrom(rules: Rules, { fraction, isOpen, room }: Limit): string | undefined {
  if (fraction === "" && !isOpen) return anyFraction(rules, room);
  return joined(".", tailFrom(rules, fraction, isOpen, room));
}

function fractionUpTo(rules: Rules, { fraction, isOpen, room }: Limit): string | undefined {
  if (fraction === "") return isOpen ? undefined : room === 0 ? '""' : `("." ${zeros(rules, 1, room)})?`;
  const written = digitsUpTo(rules, fraction, isOpen, room);
  return written === undefined ? undefined : `("." ${written})?`;
}

function fractionBetween(rules: Rules, low: Limit, high: Limit): string | undefined {
  if (low.fraction === "" && !low.isOpen) return fractionUpTo(rules, high);
  return joined(".", fractionDigitsBetween(rules, low, high));
}

/** At least one digit, and at least as much as the fraction. */
function digitsFrom(rules: Rules, fraction: string, isOpen: boolean, room: number): string | undefined {
  const digit = Number(fraction[0]);
  return oneOf([
    digit < 9 ? `[${digit + 1}-9] ${digits(rules, room - 1)}` : undefined,
    joined(String(digit), tailFrom(rules, fraction.slice(1), isOpen, room - 1)),
  ]);
}

function tailFrom(rules: Rules, rest: string, isOpen: boolean, room: number): string | undefined {
  if (rest !== "") return digitsFrom(rules, rest, isOpen, room);
  return isOpen ? notZero(rules, room) : digits(rules, room);
}

/** At least one digit, and at most as much as the fraction. */
function digitsUpTo(rules: Rules, fraction: string, isOpen: boolean, room: number): string | undefined {
  const digit = Number(fraction[0]);
  return oneOf([
    digit > 0 ? `[0-${digit - 1}] ${digits(rules, room - 1)}` : undefined,
    joined(String(digit), tailUpTo(rules, fraction.slice(1), isOpen, room - 1)),
  ]);
}

function tailUpTo(rules: Rules, rest: string, isOpen: boolean, room: number): string | undefined {
  if (rest === "") return isOpen ? undefined : zeros(rules, 0, room);
  const written = digitsUpTo(rules, rest, isOpen, room);
  return written === undefined ? undefined : `(${written})?`;
}

function fractionDigitsBetween(rules: Rules, low: Limit, high: Limit): string | undefined {
  if (high.fraction === "") return undefined;
  const [a, b] = [Number(low.fraction[0] ?? "0"), Number(high.fraction[0])];
  const after = (limit: Limit): Limit => ({ ...limit, fraction: limit.fraction.slice(1), room: limit.room - 1 });
  const [lowRest, highRest] = [after(low), after(high)];
  const upToHigh = tailUpTo(rules, highRest.fraction, high.isOpen, highRest.room);
  if (a === b) {
    if (lowRest.fraction === "" && !low.isOpen) return joined(String(a), upToHigh);
    return joined(String(a), fractionDigitsBetween(rules, lowRest, highRest));
  }
  return oneOf([
    joined(String(a), tailFrom(rules, lowRest.fraction, low.isOpen, lowRest.room)),
    a + 1 < b ? `[${a + 1}-${b - 1}] ${digits(rules, lowRest.room)}` : undefined,
    joined(String(b), upToHigh),
  ]);
}
