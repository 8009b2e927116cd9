import { setTimeout as sleep } from "node:timers/promises";
import { DownloadError, TransientError } from "./errors.ts";
import { cancelled } from "./http.ts";

const attempts = 6;

/** Tries again what may work the next time, with growing pauses. Progress starts the count anew. */
export class Retries {
  readonly #firstPauseMs: number;
  #failures = 0;

  constructor(firstPauseMs: number) {
    this.#firstPauseMs = firstPauseMs;
  }

  progressed(): void {
    this.#failures = 0;
  }

  /** @throws {DownloadError} `unreachable` after too many failures in a row, and whatever trying again does not mend */
  async run<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      if (signal.aborted) throw cancelled();
      try {
        return await task();
      } catch (thrown) {
        if (!(thrown instanceof TransientError)) throw thrown;
        if (++this.#failures >= attempts) {
          throw new DownloadError(
            "unreachable",
            `${thrown.message}. It was tried ${attempts} times; the same command takes it up again.`,
            thrown,
          );
        }
        await sleep(this.#firstPauseMs * 2 ** (this.#failures - 1), undefined, { signal }).catch(() => {
          throw cancelled();
        });
      }
    }
  }
}
