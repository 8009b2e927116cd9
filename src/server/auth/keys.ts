import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { scopes, type Caller, type Scope } from "../../protocol/access.ts";

/** A file of keys that cannot be used. The message names the line. */
export class KeysFileError extends Error {}

interface Key {
  readonly digest: Buffer;
  readonly caller: Caller;
}

/**
 * The keys that open this server. Only their hashes are known here: a key has 256 random bits, so that a plain hash is as good
 * as a slow one.
 */
export class KeyRing {
  readonly #keys: readonly Key[];

  private constructor(keys: readonly Key[]) {
    this.#keys = keys;
  }

  /** @param text a key a line: its name, its SHA-256 in hexadecimal, its scopes with commas. @throws {KeysFileError} */
  static parse(text: string): KeyRing {
    const keys = text.split("\n").flatMap((line, index) => {
      const content = line.replace(/#.*/, "").trim();
      return content === "" ? [] : [parseKey(content, index + 1)];
    });
    const names = keys.map(({ caller }) => caller.id);
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice !== undefined) throw new KeysFileError(`There are two keys named ${twice}. A name is whom an answer belongs to.`);
    if (keys.length === 0) throw new KeysFileError("There is no key in it. `llamapod key NAME` makes one.");
    return new KeyRing(keys);
  }

  /** Takes the same time whichever key it is, and whether it is one. */
  find(secret: string): Caller | undefined {
    const digest = sha256(secret);
    let found: Caller | undefined;
    for (const key of this.#keys) if (timingSafeEqual(key.digest, digest)) found = key.caller;
    return found;
  }
}

/**
 * A new key, and the line by which a server knows it.
 *
 * @param granted scopes, with commas
 * @throws {KeysFileError} for a name or scope that a file could not hold
 */
export function newKey(name: string, granted: string): { readonly secret: string; readonly line: string } {
  if (!namePattern.test(name)) throw new KeysFileError(`The name ${JSON.stringify(name)} cannot be used: ${nameRule}.`);
  const secret = `lp_${randomBytes(32).toString("base64url")}`;
  const line = `${name} ${sha256(secret).toString("hex")} ${granted}`;
  parseKey(line, 1);
  return { secret, line };
}

const namePattern = /^[A-Za-z0-9._-]{1,64}$/;
const nameRule = "a name is 1 to 64 of A-Z, a-z, 0-9, . _ and -";

function parseKey(line: string, number: number): Key {
  const [name = "", digest = "", granted = "", ...rest] = line.split(/\s+/);
  const wrong = (what: string) => new KeysFileError(`Line ${number}: ${what}. A line is NAME SHA256 SCOPES.`);
  if (!namePattern.test(name)) throw wrong(nameRule);
  if (!/^[0-9a-f]{64}$/.test(digest)) throw wrong("the key's SHA-256 is 64 hexadecimal digits, in lower case");
  const names = granted.split(",");
  const unknown = names.find((scope) => !isScope(scope));
  if (unknown !== undefined || rest.length > 0) throw wrong(`scopes are ${scopes.join(" and ")}, with a comma and no space`);
  return { digest: Buffer.from(digest, "hex"), caller: { id: name, scopes: new Set(names.filter(isScope)) } };
}

function isScope(name: string): name is Scope {
  return scopes.some((scope) => scope === name);
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
