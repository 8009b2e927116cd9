import type { Logger } from "pino";
import type { EstimateCommand, Memory, PrepareCommand } from "../protocol/runner.ts";
import { RunnerProcess } from "./runner-process.ts";

const stopGraceMs = 2_000;

/**
 * Runners without a model. To import the library and open the backend takes half a second and more, so one that has done
 * so may stand by: a new one, or one that has given its model up. Estimates are made by such a runner, too.
 */
export class Spares {
  readonly #backend: Omit<PrepareCommand, "type">;
  /** Whether one may stand by. */
  readonly areKept: boolean;
  readonly #log: Logger;
  readonly #onPrepared: (freeVideoMemory: number) => void;
  /** The oldest first: more than one only until the next `warm`. */
  #standingBy: readonly RunnerProcess[] = [];
  #estimator: RunnerProcess | undefined;
  #lastEstimate: Promise<unknown> = Promise.resolve();

  /**
   * @param onPrepared told how much GPU memory is free, in bytes, whenever a runner has opened the backend
   */
  constructor(
    backend: Omit<PrepareCommand, "type">,
    areKept: boolean,
    log: Logger,
    onPrepared: (freeVideoMemory: number) => void,
  ) {
    this.#backend = backend;
    this.areKept = areKept;
    this.#log = log;
    this.#onPrepared = onPrepared;
  }

  /** Has a runner stand by, where one may, and no more than one. One that dies is replaced the next time. */
  warm(): void {
    if (!this.areKept) return;
    const [, ...surplus] = this.#standingBy;
    for (const runner of surplus) this.#dismiss(runner);
    if (this.#standingBy.length === 0) this.#keep(this.#spawn());
  }

  /** The one that stands by, or a new one. It belongs to the caller from now on. */
  take(): RunnerProcess {
    const [runner = this.#spawn(), ...others] = this.#standingBy;
    this.#standingBy = others;
    return runner;
  }

  /** A runner that has given its model up. */
  takeBack(runner: RunnerProcess): void {
    if (runner.state.name === "prepared") this.#onPrepared(runner.state.freeVideoMemory);
    this.#keep(runner);
  }

  /** One after the other. @throws {Error} with the cause, where the model cannot be loaded */
  estimate(command: EstimateCommand): Promise<Memory> {
    const estimated = this.#lastEstimate.then(async () => {
      const runner = this.take();
      this.#estimator = runner;
      const memory = await runner.estimate(command);
      this.#estimator = undefined;
      if (this.areKept && this.#standingBy.length === 0) this.#keep(runner);
      else await runner.stop(stopGraceMs);
      return memory;
    });
    this.#lastEstimate = estimated.catch(() => undefined);
    return estimated;
  }

  async close(): Promise<void> {
    this.#estimator?.kill();
    await this.#lastEstimate;
    await Promise.all(this.#standingBy.map((runner) => runner.stop(stopGraceMs)));
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
    this.#standingBy = [...this.#standingBy, runner];
    void runner.exited.then(() => {
      this.#forget(runner);
    });
  }

  #dismiss(runner: RunnerProcess): void {
    this.#forget(runner);
    runner.stop(stopGraceMs).catch((err: unknown) => {
      this.#log.error({ err }, "a spare runner could not be stopped");
    });
  }

  #forget(runner: RunnerProcess): void {
    this.#standingBy = this.#standingBy.filter((other) => other !== runner);
  }
}
