/** Readers of one answer that are known at the same time. The oldest go first. */
const most = 1_000;

/** Who reads an answer and has not acknowledged its end. A reader with a name is one, over however many connections it comes. */
export class Readers {
  readonly #names = new Map<symbol, string | undefined>();

  get isEmpty(): boolean {
    return this.#names.size === 0;
  }

  joined(connection: symbol, name: string | undefined): void {
    if (name !== undefined) this.#forgetName(name);
    this.#names.set(connection, name);
    const [oldest] = this.#names.keys();
    if (this.#names.size > most && oldest !== undefined) this.#names.delete(oldest);
  }

  /** @returns whether it was there */
  left(connection: symbol): boolean {
    const name = this.#names.get(connection);
    const wasThere = this.#names.delete(connection);
    if (name !== undefined) this.#forgetName(name);
    return wasThere;
  }

  #forgetName(name: string): void {
    for (const [connection, other] of this.#names) if (other === name) this.#names.delete(connection);
  }
}
