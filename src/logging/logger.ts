import { chmodSync, closeSync, mkdirSync, openSync } from "node:fs";
import { basename, dirname } from "node:path";
import { multistream, pino, type DestinationStream, type Logger } from "pino";
import pretty from "pino-pretty";
import { createStream, type RotatingFileStream } from "rotating-file-stream";

export interface LogSettings {
  readonly logLevel: string;
  /** Undefined for none. */
  readonly logFile?: string | undefined;
  readonly logFileBytes: number;
  readonly logFileCount: number;
}

/** Request ids and model names are in it: for the owner, and to be read by the owner's group. */
const fileMode = 0o640;

/** Nobody else may look into a folder that is made for it. */
const folderMode = 0o750;

/** A logger, and the file behind it. */
export interface Logging {
  readonly log: Logger;
  /** Resolves when every line is in the file. */
  readonly close: () => Promise<void>;
}

/**
 * Lines of JSON on standard output, or readable ones where that is a terminal; and in a file too if there is to be one, which
 * is put aside as `file.1`, `file.2` and so on when it is full.
 *
 * @throws {Error} of the operating system where the file cannot be written
 */
export function openLog(settings: LogSettings): Logging {
  const { logLevel: level, logFile } = settings;
  const output: DestinationStream = process.stdout.isTTY
    ? pretty({ ignore: "pid,hostname", translateTime: "SYS:HH:MM:ss", sync: true })
    : pino.destination({ fd: 1, sync: true });
  if (logFile === undefined) return { log: pino({ level }, output), close: () => Promise.resolve() };
  const file = openFile(logFile, settings);
  return {
    // Each logger has its level; the streams take what comes.
    log: pino({ level }, multistream([output, file].map((stream) => ({ level: "trace", stream })))),
    close: () => new Promise((resolve) => file.end(resolve)),
  };
}

function openFile(path: string, { logFileBytes, logFileCount }: LogSettings): RotatingFileStream {
  mkdirSync(dirname(path), { recursive: true, mode: folderMode });
  // Now, where whoever starts the server is told; and with the right mode whatever the umask.
  closeSync(openSync(path, "a", fileMode));
  chmodSync(path, fileMode);
  const file = createStream((index) => (typeof index === "number" ? `${basename(path)}.${index}` : basename(path)), {
    path: dirname(path),
    size: `${logFileBytes}B`,
    rotate: logFileCount,
    mode: fileMode,
  });
  file.on("error", (error) => process.stderr.write(`The log file ${path} cannot be written: ${error.message}\n`));
  return file;
}
