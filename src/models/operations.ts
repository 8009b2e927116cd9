import { randomUUID } from "node:crypto";
import { LlamapodError } from "../protocol/errors.ts";
import type { OperationKind, OperationState } from "../protocol/operator.ts";

export interface OperationProgress {
  /** What is going on, in a word. */
  readonly phase: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface OperationStatus {
  readonly id: string;
  readonly kind: OperationKind;
  readonly modelId: string;
  readonly state: OperationState;
  readonly progress: OperationProgress | undefined;
  /** Why it failed, or that it was cancelled. */
  readonly error: LlamapodError | undefined;
}

/** Work on a model that takes longer than a request should. */
export class Operation<Kind extends OperationKind = OperationKind> {
  readonly id = `op-${randomUUID()}`;
  readonly kind: Kind;
  readonly modelId: string;
  readonly #onCancel: () => void;
  readonly #listeners = new Set<(status: OperationStatus) => void>();
  #state: OperationState = "queued";
  #progress: OperationProgress | undefined;
  #error: LlamapodError | undefined;

  /** @param onCancel makes whoever works on it call `cancelled`, or end it otherwise */
  constructor(kind: Kind, modelId: string, onCancel: () => void) {
    this.kind = kind;
    this.modelId = modelId;
    this.#onCancel = onCancel;
  }

  get status(): OperationStatus {
    const { id, kind, modelId } = this;
    return { id, kind, modelId, state: this.#state, progress: this.#progress, error: this.#error };
  }

  get hasEnded(): boolean {
    return this.#state !== "queued" && this.#state !== "running";
  }

  /** Resolves with what has become of it. */
  get ended(): Promise<OperationStatus> {
    return new Promise((resolve) => {
      const stop = this.onChange((status) => {
        if (!this.hasEnded) return;
        stop();
        resolve(status);
      });
      if (this.hasEnded) resolve(this.status);
    });
  }

  onChange(listener: (status: OperationStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  progressed(progress: OperationProgress): void {
    const { phase, doneBytes } = this.#progress ?? {};
    if (this.hasEnded || (phase === progress.phase && doneBytes === progress.doneBytes)) return;
    this.#progress = progress;
    this.#enter("running");
  }

  done(): void {
    this.#enter("done");
  }

  failed(error: LlamapodError): void {
    if (!this.hasEnded) this.#error = error;
    this.#enter("failed");
  }

  cancelled(): void {
    if (!this.hasEnded) this.#error = new LlamapodError("operation_cancelled", `The ${this.kind} was called off.`);
    this.#enter("cancelled");
  }

  /** Asks for it to be called off. One that has ended stays as it is. */
  cancel(): void {
    if (!this.hasEnded) this.#onCancel();
  }

  #enter(state: OperationState): void {
    if (this.hasEnded) return;
    this.#state = state;
    for (const listener of [...this.#listeners]) listener(this.status);
  }
}

/** Operations that are remembered, those under way included. */
const rememberedOperations = 200;

/** By id, for a while after they have ended. */
export class Operations {
  readonly #operations = new Map<string, Operation>();

  add(operation: Operation): void {
    this.#operations.set(operation.id, operation);
    const [oldest] = [...this.#operations.values()].filter(({ hasEnded }) => hasEnded);
    if (this.#operations.size > rememberedOperations && oldest !== undefined) this.#operations.delete(oldest.id);
  }

  /** @throws {LlamapodError} `not_found` */
  find(id: string): Operation {
    const operation = this.#operations.get(id);
    if (operation === undefined) throw new LlamapodError("not_found", `There is no operation ${id}, or it ended long ago.`);
    return operation;
  }
}
