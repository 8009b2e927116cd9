/** Readers of one answer that are known at the same time. The oldest go first. */
const most = 1_000;

/** Those who give no name are one reader: nobody can tell a second one from the first, come again over a new connection. */
const nameless = "";

/** Who reads an answer and has not acknowledged its end. A reader is one, over however many connections it comes. */
export class Readers {
  readonly #names = new Map<symbol, string>();

  get isEmpty(): boolean {
    return this.#names.size === 0;
  }

  has(connection: symbol): boolean {
    return this.#names.has(connection);
  }

  joined(connection: symbol, name: string | undefined): void {
    if (name !== undefined) this.#forgetName(name);
    this.#names.set(connection, name ?? nameless);
    const [oldest] = this.#names.keys();
    if (this.#names.size > most && oldest !== undefined) this.#names.delete(oldest);
  }

  /** @returns whether it was there */
  left(connection: symbol): boolean {
    const name = this.#names.get(connection);
    if (name === undefined) return false;
    this.#forgetName(name);
    return true;
  }

  #forgetName(name: string): void {
    for (const [connection, other] of this.#names) if (other === name) this.#names.delete(connection);
  }
}
