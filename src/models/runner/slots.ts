/** One sequence of the context: what its KV cells hold, whether or not a generation is using it. */
export class Slot {
  readonly id: number;
  readonly #tokens: Uint32Array;
  #length = 0;
  /** Whose tokens they are. */
  scope = "";
  busy = false;
  /** Grows with every release; the smallest is the least recently used. */
  lastUsed = 0;

  constructor(id: number, capacity: number) {
    this.id = id;
    this.#tokens = new Uint32Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  /** The tokens whose cells the slot holds. A view: valid until the slot changes. */
  get tokens(): Uint32Array {
    return this.#tokens.subarray(0, this.#length);
  }

  append(tokens: Uint32Array): void {
    this.#tokens.set(tokens, this.#length);
    this.#length += tokens.length;
  }

  truncate(length: number): void {
    this.#length = length;
  }
}

export interface SlotChoice {
  readonly slot: Slot;
  /** Tokens at the beginning of the prompt that the slot already holds. */
  readonly commonPrefix: number;
}

/**
 * The free slot for a prompt: one that holds the same conversation, else an empty one, else the one that has not been used for
 * longest. It is the same conversation when most of what the slot holds goes on to be of use, or when all of the prompt is in
 * it, as of one that is asked again. That most of a short prompt is in it is no reason to overwrite a long conversation: that
 * is but the beginning that all have in common. Slots of another scope have nothing in common with it: how fast an answer
 * comes would tell what others have asked.
 */
export function chooseSlot(slots: readonly Slot[], scope: string, prompt: Uint32Array): SlotChoice | undefined {
  const free = slots
    .filter((slot) => !slot.busy)
    .map((slot) => ({ slot, commonPrefix: slot.scope === scope ? commonPrefixLength(slot.tokens, prompt) : 0 }));
  const continuing = free.filter(
    ({ slot, commonPrefix }) => commonPrefix > 0 && (commonPrefix * 2 > slot.length || commonPrefix === prompt.length),
  );
  const byPrefix = continuing.sort((a, b) => b.commonPrefix - a.commonPrefix || a.slot.lastUsed - b.slot.lastUsed);
  const byAge = free.sort((a, b) => Number(a.slot.length > 0) - Number(b.slot.length > 0) || a.slot.lastUsed - b.slot.lastUsed);
  return byPrefix[0] ?? byAge[0];
}

export function commonPrefixLength(a: Uint32Array, b: Uint32Array): number {
  const limit = Math.min(a.length, b.length);
  let length = 0;
  while (length < limit && a[length] === b[length]) length++;
  return length;
}
