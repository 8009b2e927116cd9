import type { ModelState, ModelSummary, ServerMessageOf } from "../protocol/stream.ts";
import { Changes } from "./changes.ts";
import { ClientError } from "./errors.ts";

export interface SwitchProgress {
  readonly model: string;
  readonly state: ModelState;
  /** 0 to 1, while it is being loaded. */
  readonly progress?: number;
}

type ModelNews = Pick<ServerMessageOf<"model">, "id" | "state" | "active" | "progress" | "reason">;

/** A switch to another model while it is going on. `for await` gives the states that the model passes; `result` its end. */
export class ModelSwitch implements AsyncIterable<SwitchProgress> {
  /** As it was asked for: its id or an alias. */
  readonly model: string;
  /** Resolves when the model answers. Rejects with a {@link ClientError} if it cannot be loaded. */
  readonly result: Promise<void>;
  readonly #changes = new Changes();
  #resolve: () => void = () => undefined;
  #reject: (reason: unknown) => void = () => undefined;
  #latest: SwitchProgress | undefined;
  #isOver = false;
  /** As the server calls it. */
  #id: string;

  constructor(model: string) {
    this.model = model;
    // The server takes names in any case.
    this.#id = model.toLowerCase();
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.result.catch(() => undefined);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Leaving the loop early stops watching, not the switch. */
  async *[Symbol.asyncIterator](): AsyncGenerator<SwitchProgress, void, undefined> {
    for (let told: SwitchProgress | undefined; ;) {
      if (this.#latest !== undefined && this.#latest !== told) {
        told = this.#latest;
        yield told;
      } else if (this.#isOver) {
        return this.result;
      } else {
        await this.#changes.next();
      }
    }
  }

  /** For the client that owns it: which of the server's models it is, if any. */
  find(models: readonly ModelSummary[]): ModelSummary | undefined {
    const found = models.find(({ id, aliases }) => id === this.#id || aliases?.includes(this.#id) === true);
    this.#id = found?.id ?? this.#id;
    return found;
  }

  /** For the client that owns it. */
  update({ id, state, active, progress, reason }: ModelNews): void {
    if (this.#isOver || id !== this.#id) return;
    this.#latest = { model: id, state, ...(progress !== undefined && { progress }) };
    if (state === "failed" || state === "invalid") {
      const message = reason ?? `The model ${id} cannot be loaded.`;
      this.fail(new ClientError({ code: "model_load_failed", message, retryable: true }));
    } else if (active && state === "ready") {
      this.#isOver = true;
      this.#resolve();
    }
    this.#changes.announce();
  }

  /** For the client that owns it. */
  fail(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#reject(error);
    this.#changes.announce();
  }
}
