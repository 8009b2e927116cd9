/** How a call begins, read from text of which the rest may still come. */
export type Header =
  | { readonly kind: "partial" }
  | { readonly kind: "other" }
  /** `length` is where the arguments begin. */
  | { readonly kind: "call"; readonly name: string; readonly length: number };

const partial: Header = { kind: "partial" };
const other: Header = { kind: "other" };

/** What stands before the arguments; white space may be anywhere in between. */
const before = ["{", '"name"', ":", "name", ",", "arguments", ":"] as const;

const argumentKeys = ['"arguments"', '"parameters"'];

/** `{"name": "...", "arguments": {` as far as it has come. */
export function readHeader(text: string): Header {
  let name = "";
  let position = 0;
  for (const part of before) {
    position = skipSpace(text, position);
    const rest = text.slice(position);
    if (part === "name") {
      const [written] = /^"(?:[^"\\]|\\.)*"/.exec(rest) ?? [];
      if (written === undefined) return rest === "" || rest.startsWith('"') ? partial : other;
      const value = parse(written);
      if (typeof value !== "string") return other;
      name = value;
      position += written.length;
    } else {
      const keys = part === "arguments" ? argumentKeys : [part];
      const found = keys.find((key) => rest.startsWith(key));
      if (found === undefined) return keys.some((key) => key.startsWith(rest)) ? partial : other;
      position += found.length;
    }
  }
  position = skipSpace(text, position);
  if (position === text.length) return partial;
  return text[position] === "{" ? { kind: "call", name, length: position } : other;
}

/** A whole call, or a list of them, in whatever order its parts are. */
export function readWhole(text: string): { readonly name: string; readonly arguments: string }[] | undefined {
  const calls = [parse(text)].flat().map((value) => {
    if (typeof value !== "object" || value === null) return undefined;
    const name: unknown = Reflect.get(value, "name");
    const given: unknown = Reflect.get(value, "arguments") ?? Reflect.get(value, "parameters") ?? {};
    if (typeof name !== "string") return undefined;
    return { name, arguments: typeof given === "string" ? given : JSON.stringify(given) };
  });
  return calls.every((call) => call !== undefined) ? calls : undefined;
}

function skipSpace(text: string, position: number): number {
  let next = position;
  while (/\s/.test(text[next] ?? "")) next++;
  return next;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
