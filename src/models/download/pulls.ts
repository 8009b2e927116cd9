import type { Logger } from "pino";
import { LlamapodError } from "../../protocol/errors.ts";
import type { Catalogue, MissingModel } from "../catalogue.ts";
import { Operation, type Operations } from "../operations.ts";
import { DownloadError } from "./errors.ts";
import { pullModel } from "./pull.ts";
import { downloadSettings } from "./settings.ts";

/** Pulls that the server was asked for. Only what the catalogue knows: a client must not choose where the server goes. */
export class Pulls {
  readonly #catalogue: Catalogue;
  readonly #operations: Operations;
  readonly #folder: string;
  readonly #log: Logger;
  readonly #underWay = new Map<string, { readonly operation: Operation; readonly stopping: AbortController }>();

  constructor(catalogue: Catalogue, operations: Operations, folder: string, log: Logger) {
    this.#catalogue = catalogue;
    this.#operations = operations;
    this.#folder = folder;
    this.#log = log;
  }

  /** Begins to pull a model, or finds the pull of it that is under way. @throws {LlamapodError} `model_not_found` */
  begin(name: string): Operation {
    const known = this.#catalogue.definition(name);
    if (known?.definition.source === undefined) {
      throw new LlamapodError("model_not_found", `The catalogue knows no source of a model ${JSON.stringify(name)}.`, {
        param: "model",
      });
    }
    const joined = this.#underWay.get(known.id);
    // One that was called off takes a moment to stop. The new one waits for it.
    if (joined !== undefined && !joined.stopping.signal.aborted) return joined.operation;
    const stopping = new AbortController();
    const operation = new Operation("pull", known.id, () => {
      stopping.abort();
    });
    this.#underWay.set(known.id, { operation, stopping });
    this.#operations.add(operation);
    this.#run(known, known.definition.source, operation, stopping.signal)
      .catch((thrown: unknown) => {
        this.#failed(operation, thrown);
      })
      .finally(() => {
        if (this.#underWay.get(known.id)?.operation === operation) this.#underWay.delete(known.id);
      });
    return operation;
  }

  /** Stops what is under way; it goes on when it is asked for again. */
  close(): void {
    for (const { stopping } of this.#underWay.values()) stopping.abort();
  }

  async #run({ id, definition }: MissingModel, source: string, operation: Operation, signal: AbortSignal): Promise<void> {
    await pullModel({
      request: { source, definition, folder: this.#folder, localFile: "copy", existing: "keep" },
      settings: await downloadSettings(process.env),
      signal,
      onProgress: ({ phase, bytes, totalBytes = 0 }) => {
        operation.progressed({ phase, doneBytes: bytes, totalBytes });
      },
    });
    await this.#catalogue.scan();
    this.#log.info({ model: id }, "model was pulled");
    operation.done();
  }

  #failed(operation: Operation, thrown: unknown): void {
    if (thrown instanceof DownloadError && thrown.failure === "cancelled") {
      operation.cancelled();
      return;
    }
    this.#log.error({ model: operation.modelId, err: thrown }, "model could not be pulled");
    const message =
      thrown instanceof DownloadError
        ? thrown.message
        : `${operation.modelId} could not be pulled. The server's log has the cause.`;
    operation.failed(new LlamapodError("pull_failed", message, { cause: thrown }));
  }
}
