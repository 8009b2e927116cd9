import type { Logger } from "pino";
import type { EstimateCommand, Memory, PrepareCommand } from "../protocol/runner.ts";
import { RunnerProcess } from "./runner-process.ts";

const stopGraceMs = 2_000;

/**
 * Runners without a model. To import the library and open the backend takes half a second and more, so one that has done
 * so may stand by. Estimates are made by such a runner, too.
 */
export class Spares {
  readonly #backend: Omit<PrepareCommand, "type">;
  readonly #isKept: boolean;
  readonly #log: Logger;
  readonly #onPrepared: (freeVideoMemory: number) => void;
  #standingBy: RunnerProcess | undefined;
  #estimator: RunnerProcess | undefined;
  #lastEstimate: Promise<unknown> = Promise.resolve();

  /**
   * @param isKept whether one may stand by
   * @param onPrepared told how much GPU memory is free, in bytes, whenever a runner has opened the backend
   */
  constructor(
    backend: Omit<PrepareCommand, "type">,
    isKept: boolean,
    log: Logger,
    onPrepared: (freeVideoMemory: number) => void,
  ) {
    this.#backend = backend;
    this.#isKept = isKept;
    this.#log = log;
    this.#onPrepared = onPrepared;
  }

  get standingBy(): RunnerProcess | undefined {
    return this.#standingBy;
  }

  /** Has a runner stand by, where one may. One that dies is replaced the next time. */
  warm(): void {
    if (this.#isKept && this.#standingBy === undefined) this.#keep(this.#spawn());
  }

  /** The one that stands by, or a new one. It belongs to the caller from now on. */
  take(): RunnerProcess {
    const runner = this.#standingBy ?? this.#spawn();
    this.#standingBy = undefined;
    return runner;
  }

  /** One after the other. @throws {Error} with the cause, where the model cannot be loaded */
  estimate(command: EstimateCommand): Promise<Memory> {
    const estimated = this.#lastEstimate.then(async () => {
      const runner = this.take();
      this.#estimator = runner;
      const memory = await runner.estimate(command);
      this.#estimator = undefined;
      if (this.#isKept && this.#standingBy === undefined) this.#keep(runner);
      else await runner.stop(stopGraceMs);
      return memory;
    });
    this.#lastEstimate = estimated.catch(() => undefined);
    return estimated;
  }

  async close(): Promise<void> {
    this.#estimator?.kill();
    await this.#lastEstimate;
    await this.#standingBy?.stop(stopGraceMs);
  }

  #spawn(): RunnerProcess {
    const observer = {
      stateChanged: ({ state }: RunnerProcess) => {
        if (state.name === "prepared") this.#onPrepared(state.freeVideoMemory);
      },
      stepped: () => undefined,
      beat: () => undefined,
    };
    return new RunnerProcess(this.#backend, this.#log, observer);
  }

  #keep(runner: RunnerProcess): void {
    this.#standingBy = runner;
    void runner.exited.then(() => {
      if (this.#standingBy === runner) this.#standingBy = undefined;
    });
  }
}
