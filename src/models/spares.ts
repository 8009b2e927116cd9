import type { Logger } from "pino";
import type { EstimateCommand, Memory, VideoMemory } from "../protocol/runner.ts";
import type { Runner, StartRunner } from "./runner.ts";

const stopGraceMs = 2_000;

/** Estimates that are made at the same time, at most: one that hangs must not keep the others waiting. */
const mostEstimates = 2;

/**
 * Runners without a model. To import the library and open the backend takes half a second and more, so one that has done
 * so may stand by: a new one, or one that has given its model up. Estimates are made by such a runner, too.
 */
export class Spares {
  readonly #startRunner: StartRunner;
  /** Whether one may stand by. */
  readonly areKept: boolean;
  readonly #log: Logger;
  readonly #onVideoMemory: (seen: VideoMemory) => void;
  /** The oldest first: more than one only until the next `warm`. */
  #standingBy: readonly Runner[] = [];
  readonly #estimators = new Set<Runner>();
  readonly #estimating = new Set<Promise<unknown>>();
  readonly #stopping = new Set<Promise<unknown>>();
  #isClosed = false;

  /** @param onVideoMemory told of the GPUs whenever a runner has opened the backend, and by one that stands by from time to time */
  constructor(startRunner: StartRunner, areKept: boolean, log: Logger, onVideoMemory: (seen: VideoMemory) => void) {
    this.#startRunner = startRunner;
    this.areKept = areKept;
    this.#log = log;
    this.#onVideoMemory = onVideoMemory;
  }

  /** How many have opened the backend, those that estimate included. */
  get open(): number {
    return [...this.#standingBy, ...this.#estimators].filter(({ state }) => state.name === "prepared").length;
  }

  /** Process ids of those that stand by. */
  get pids(): number[] {
    return this.#standingBy.flatMap(({ pid }) => pid ?? []);
  }

  /**
   * Has a runner stand by, where one may, and no more than one. One that dies is replaced the next time, one that there is no
   * room for any more is given up.
   *
   * @param isRoom whether it would fit beside the models
   */
  warm(isRoom: () => boolean): void {
    if (!this.areKept) return;
    const mayStandBy = isRoom() ? 1 : 0;
    for (const runner of this.#standingBy.slice(mayStandBy)) this.#dismiss(runner);
    if (this.#standingBy.length === mayStandBy) return;
    try {
      this.#keep(this.#spawn());
    } catch (err) {
      this.#log.warn({ err }, "no runner can stand by");
    }
  }

  /** The one that stands by, or a new one. It belongs to the caller from now on. @throws {Error} where none can be started */
  take(): Runner {
    const [runner = this.#spawn(), ...others] = this.#standingBy;
    this.#standingBy = others;
    return runner;
  }

  /** A runner that has given its model up. */
  takeBack(runner: Runner): void {
    if (runner.state.name === "prepared") this.#onVideoMemory(runner.state.videoMemory);
    this.#keep(runner);
  }

  /** @throws {Error} with the cause, where the model cannot be loaded */
  async estimate(command: EstimateCommand): Promise<Memory> {
    while (this.#estimating.size >= mostEstimates) await Promise.race(this.#estimating);
    if (this.#isClosed) throw new Error("the server is shutting down");
    const estimated = this.#estimate(command);
    const over: Promise<unknown> = estimated
      .catch(() => undefined)
      .finally(() => {
        this.#estimating.delete(over);
      });
    this.#estimating.add(over);
    return estimated;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const runner of this.#estimators) runner.kill();
    await Promise.all(this.#estimating);
    for (const runner of this.#standingBy) this.#dismiss(runner);
    await Promise.all(this.#stopping);
  }

  async #estimate(command: EstimateCommand): Promise<Memory> {
    const runner = this.take();
    this.#estimators.add(runner);
    try {
      const memory = await runner.estimate(command);
      if (this.areKept && this.#standingBy.length === 0) this.#keep(runner);
      else this.#dismiss(runner);
      return memory;
    } finally {
      this.#estimators.delete(runner);
    }
  }

  #spawn(): Runner {
    const runner = this.#startRunner({
      stateChanged: ({ state }) => {
        if (state.name === "prepared") this.#onVideoMemory(state.videoMemory);
      },
      stepped: () => undefined,
      beat: () => undefined,
      sawVideoMemory: (_, seen) => {
        this.#onVideoMemory(seen);
      },
    });
    void runner.exited.then(() => {
      this.#forget(runner);
    });
    return runner;
  }

  #keep(runner: Runner): void {
    this.#standingBy = [...this.#standingBy, runner];
  }

  #dismiss(runner: Runner): void {
    this.#forget(runner);
    const stopped: Promise<unknown> = runner
      .stop(stopGraceMs)
      .catch((err: unknown) => {
        this.#log.error({ err }, "a spare runner could not be stopped");
      })
      .finally(() => this.#stopping.delete(stopped));
    this.#stopping.add(stopped);
  }

  #forget(runner: Runner): void {
    this.#standingBy = this.#standingBy.filter((other) => other !== runner);
  }
}
