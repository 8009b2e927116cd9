/** Which models are to be loaded although nobody waits for them, while there is room that nobody needs. */
export class Keeping {
  readonly #pinned: ReadonlySet<string>;
  readonly #preloading: Set<string>;
  /** Models that nobody needs loaded until somebody asks for them, active or pinned as they may be. */
  readonly #asleep = new Set<string>();

  /** @param preload ids @param pinned ids */
  constructor(preload: readonly string[], pinned: readonly string[]) {
    this.#preloading = new Set(preload);
    this.#pinned = new Set(pinned);
  }

  isPinned(modelId: string): boolean {
    return this.#pinned.has(modelId);
  }

  /** In the order in which they come, each of them once. */
  models(activeModel: string | undefined): string[] {
    const active = activeModel === undefined ? [] : [activeModel];
    const models = new Set([...active, ...this.#pinned, ...this.#preloading]);
    return [...models].filter((modelId) => !this.#asleep.has(modelId));
  }

  /** It is loaded, or cannot be: there is nothing to preload any more. */
  settled(modelId: string): void {
    this.#preloading.delete(modelId);
  }

  putToSleep(modelId: string): void {
    this.#preloading.delete(modelId);
    this.#asleep.add(modelId);
  }

  /** Somebody asks for it. */
  wake(modelId: string): void {
    this.#asleep.delete(modelId);
  }
}
