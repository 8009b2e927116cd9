import { chmodSync, closeSync, fstatSync, mkdirSync, openSync, readSync, writeSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { pino } from "pino";
import { createStream, type RotatingFileStream } from "rotating-file-stream";

/** Request ids and model names are in it: for the owner, and to be read by the owner's group. */
const fileMode = 0o640;

/** Nobody else may look into a folder that is made for it. */
const folderMode = 0o750;

/** For how long nothing is tried when writing has failed: a disk that is full is full for each line. */
const pauseMs = 1_000;

export interface LogFileLimits {
  /** Of a file, before it is put aside. */
  readonly bytes: number;
  /** Of the files that have been put aside. */
  readonly count: number;
}

/**
 * A file of lines, which is put aside as `file.1`, `file.2` and so on when it is full. Where it cannot be written, lines are left
 * out until it can be, and a line says how many.
 */
export class LogFile {
  readonly #path: string;
  readonly #limits: LogFileLimits;
  readonly #onTrouble: (error: Error) => void;
  #file: RotatingFileStream;
  #failedAt: number | undefined;
  /** That it cannot be written has been told, and it has not been written since. */
  #isTold = false;
  #leftOut = 0;
  #isClosed = false;

  /**
   * @param onTrouble told why it cannot be written, once for as long as that lasts
   * @throws {Error} of the operating system where it cannot be written now
   */
  constructor(path: string, limits: LogFileLimits, onTrouble: (error: Error) => void) {
    this.#path = resolve(path);
    this.#limits = limits;
    this.#onTrouble = onTrouble;
    this.#file = this.#open();
  }

  write(line: string): void {
    if (this.#isClosed) return;
    if (this.#failedAt !== undefined) this.#tryAgain(this.#failedAt);
    if (this.#failedAt === undefined) this.#pass(line, 1);
    else this.#leftOut++;
  }

  /** Resolves when every line is written. What comes later is not. */
  close(): Promise<void> {
    this.#isClosed = true;
    return new Promise((closed) => {
      this.#file.end(() => {
        closed();
      });
    });
  }

  /** @param lines that are left out if it cannot be written */
  #pass(line: string, lines: number): void {
    this.#file.write(line, (error) => {
      if (error) this.#leftOut += lines;
      else this.#isTold = false;
    });
  }

  #tryAgain(failedAt: number): void {
    if (performance.now() - failedAt < pauseMs) return;
    try {
      this.#file = this.#open();
    } catch (thrown) {
      this.#failed(thrown instanceof Error ? thrown : new Error(String(thrown)));
      return;
    }
    this.#failedAt = undefined;
    const leftOut = this.#leftOut;
    this.#leftOut = 0;
    const write = (line: string) => {
      this.#pass(line, leftOut);
    };
    const log = pino({ level: "warn" }, { write });
    log.warn({ leftOut }, `the log file could not be written: up to ${leftOut} lines were left out`);
  }

  #failed(error: Error): void {
    this.#failedAt = performance.now();
    if (!this.#isTold) this.#onTrouble(error);
    this.#isTold = true;
  }

  #open(): RotatingFileStream {
    const path = this.#path;
    makeFolder(dirname(path));
    openLine(path);
    const file = createStream((index) => (typeof index === "number" ? `${basename(path)}.${index}` : basename(path)), {
      path: dirname(path),
      size: `${this.#limits.bytes}B`,
      rotate: this.#limits.count,
      mode: fileMode,
    });
    file.on("open", () => {
      chmodSync(path, fileMode);
    });
    file.on("error", (error) => {
      this.#failed(error);
    });
    return file;
  }
}

/** With the right mode whatever the umask. */
function makeFolder(folder: string): void {
  const first = mkdirSync(folder, { recursive: true, mode: folderMode });
  if (first === undefined) return;
  for (let made = folder; made.length >= first.length; made = dirname(made)) chmodSync(made, folderMode);
}

/** Makes the file, and ends its last line, of which a disk may have taken a part before it was full. */
function openLine(path: string): void {
  const file = openSync(path, "a+", fileMode);
  try {
    chmodSync(path, fileMode);
    const { size } = fstatSync(file);
    const last = Buffer.alloc(1);
    if (size > 0 && readSync(file, last, 0, 1, size - 1) === 1 && last.toString() !== "\n") writeSync(file, "\n");
  } finally {
    closeSync(file);
  }
}
