import { watch, type FSWatcher } from "node:fs";
import type { Logger } from "pino";

/** Changes come in bursts: a download is a thousand of them. */
const burstMs = 200;

/** How often a folder that cannot be watched is tried again, or looked into. */
const retryMs = 5_000;

/** Tells when something in a folder has changed, the folder's own coming and going included. */
export class FolderWatch implements Disposable {
  readonly #folder: string;
  readonly #changed: () => void;
  readonly #log: Logger;
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(folder: string, changed: () => void, log: Logger) {
    this.#folder = folder;
    this.#changed = changed;
    this.#log = log;
    this.#open();
  }

  /** Tells once more, after a while. */
  again(afterMs: number): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#watcher === undefined) this.#open();
      this.#changed();
    }, afterMs).unref();
  }

  #open(): void {
    try {
      this.#watcher = watch(this.#folder, { persistent: false });
      this.#watcher.on("change", () => {
        if (this.#timer === undefined) this.again(burstMs);
      });
      this.#watcher.on("error", (err) => {
        this.#log.debug({ folder: this.#folder, err }, "the models folder is not watched any more");
        this.#lost();
      });
    } catch (err) {
      this.#log.debug({ folder: this.#folder, err }, "the models folder cannot be watched, and is looked into now and then");
      this.#lost();
    }
  }

  #lost(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.again(retryMs);
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#watcher?.close();
  }
}
