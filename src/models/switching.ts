import type { LlamapodError } from "../protocol/errors.ts";
import type { OperationKind } from "../protocol/operator.ts";
import { Operation } from "./operations.ts";

/**
 * What the operator wants loaded: switches, and loads that change no active model. They are carried out one after the
 * other, each as a transaction: nothing is different until the model has answered, and one that fails leaves no trace.
 */
export class Switching {
  #pending: readonly Operation[] = [];

  /** The one that is carried out now. */
  get current(): Operation | undefined {
    return this.#pending[0];
  }

  /** What it is after. */
  get wanted(): { readonly kind: "switch" | "load"; readonly modelId: string } | undefined {
    const [current] = this.#pending;
    return current === undefined ? undefined : { kind: current.kind === "load" ? "load" : "switch", modelId: current.modelId };
  }

  /** Asks for the same as an operation that is under way join it. */
  request(
    kind: Extract<OperationKind, "switch" | "load">,
    modelId: string,
    onCancelled: (operation: Operation) => void,
  ): Operation {
    const last = this.#pending.at(-1);
    if (last?.kind === kind && last.modelId === modelId) return last;
    const operation = new Operation(kind, modelId, () => {
      this.#remove(operation);
      operation.cancelled();
      onCancelled(operation);
    });
    this.#pending = [...this.#pending, operation];
    return operation;
  }

  /** The current operation has come to its end. */
  succeeded(): void {
    const operation = this.current;
    if (operation === undefined) return;
    this.#remove(operation);
    operation.done();
  }

  /** @returns whether it was the current operation that failed */
  failed(modelId: string, error: LlamapodError): boolean {
    const operation = this.current;
    if (operation?.modelId !== modelId) return false;
    this.#remove(operation);
    operation.failed(error);
    return true;
  }

  close(error: LlamapodError): void {
    const pending = this.#pending;
    this.#pending = [];
    for (const operation of pending) operation.failed(error);
  }

  #remove(operation: Operation): void {
    this.#pending = this.#pending.filter((candidate) => candidate !== operation);
  }
}
