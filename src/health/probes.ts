import type { ModelState } from "../protocol/stream.ts";

/** What the probes are told about the active model. */
export interface ActiveModel {
  readonly id: string;
  readonly state: ModelState;
  readonly reason: string | undefined;
  /** What computes it, while it is loaded. */
  readonly backend?: string;
}

export interface Probe {
  readonly ok: boolean;
  readonly body: Readonly<Record<string, string | null>>;
}

/**
 * The answers to an orchestrator's questions. Live: the event loop turns. Ready: the active model answers. Startup: it
 * has been ready once. A full queue is not ill health.
 */
export class Probes {
  #active: ActiveModel | undefined;
  #hasBeenReady = false;
  #draining = false;

  activeModelChanged(active: ActiveModel | undefined): void {
    this.#active = active;
    if (active?.state === "ready") this.#hasBeenReady = true;
  }

  draining(): void {
    this.#draining = true;
  }

  live(): Probe {
    return { ok: true, body: { status: "ok" } };
  }

  startup(): Probe {
    return this.#hasBeenReady ? { ok: true, body: { status: "ok" } } : this.#notReady();
  }

  ready(): Probe {
    if (this.#draining) return { ok: false, body: { status: "draining" } };
    // An active model that has made room for another one is loaded again when it is asked for.
    const answers = this.#active?.state === "ready" || (this.#active?.state === "available" && this.#hasBeenReady);
    if (this.#active === undefined || !answers) return this.#notReady();
    const { id, backend } = this.#active;
    return { ok: true, body: { status: "ok", model: id, ...(backend !== undefined && { backend }) } };
  }

  #notReady(): Probe {
    if (this.#active === undefined)
      return { ok: false, body: { status: "no model", reason: "the models folder holds no usable GGUF file" } };
    const { id, state, reason } = this.#active;
    return { ok: false, body: { status: state, model: id, ...(reason !== undefined && { reason }) } };
  }
}
