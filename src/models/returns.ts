/** A request that follows an answer within this time comes from a program that has more to ask, in milliseconds. */
export const soonMs = 100;

/** For each model, whether those who got an answer last came back at once, as programs do and people do not. */
export class Returns {
  readonly #answeredAt = new Map<string, number>();
  readonly #areSoon = new Set<string>();

  answered(modelId: string): void {
    this.#answeredAt.set(modelId, performance.now());
  }

  asked(modelId: string): void {
    const answeredAt = this.#answeredAt.get(modelId);
    if (answeredAt === undefined) return;
    this.#answeredAt.delete(modelId);
    if (performance.now() - answeredAt <= soonMs) this.#areSoon.add(modelId);
    else this.#areSoon.delete(modelId);
  }

  areSoon(modelId: string): boolean {
    return this.#areSoon.has(modelId);
  }
}
