/** Label of everything that has none of its own. */
const otherModel = "_other";

/**
 * The values of the label `model`: ids of the catalogue, and no more than so many of them, because every one is worth
 * hundreds of series. A folder with a thousand files must not make a scrape slow.
 */
export class ModelLabels {
  readonly #known = new Set<string>();
  readonly #most: number;
  readonly #onOverflow: () => void;

  constructor(most: number, onOverflow: () => void) {
    this.#most = most;
    this.#onOverflow = onOverflow;
  }

  /** For an observation. @param modelId of the catalogue; undefined where a request has named none that is in it */
  of(modelId: string | undefined): string {
    const label = this.at(modelId);
    if (modelId !== undefined && label !== modelId) this.#onOverflow();
    return label;
  }

  /** For a scrape, which looks at every model and observes nothing. */
  at(modelId: string | undefined): string {
    if (modelId === undefined) return otherModel;
    if (this.#known.has(modelId)) return modelId;
    if (this.#known.size >= this.#most) return otherModel;
    this.#known.add(modelId);
    return modelId;
  }

  /** @param present ids of the models that there are @returns the labels of others, which are free again */
  free(present: ReadonlySet<string>): readonly string[] {
    const gone = [...this.#known].filter((modelId) => !present.has(modelId));
    for (const modelId of gone) this.#known.delete(modelId);
    return gone;
  }
}
