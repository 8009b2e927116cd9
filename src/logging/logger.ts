import { chmodSync, closeSync, mkdirSync, openSync } from "node:fs";
import { basename, dirname } from "node:path";
import { multistream, pino, type Logger } from "pino";
import { createStream, type RotatingFileStream } from "rotating-file-stream";
import { standardOutput } from "./standard-output.ts";

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
  /** Resolves when every line is written. */
  readonly close: () => Promise<void>;
}

/**
 * Lines on standard output, and in a file too if there is to be one, which is put aside as `file.1`, `file.2` and so on when
 * it is full.
 *
 * @throws {Error} of the operating system where the file cannot be written
 */
export function openLog(settings: LogSettings): Logging {
  const { logLevel: level, logFile } = settings;
  const output = standardOutput();
  if (logFile === undefined) return { log: pino({ level }, output.stream), close: output.close };
  const file = openFile(logFile, settings);
  const fileClosed = () => new Promise<void>((resolve) => file.end(resolve));
  return {
    // Each logger has its level; the streams take what comes.
    log: pino({ level }, multistream([output.stream, file].map((stream) => ({ level: "trace", stream })))),
    close: async () => {
      await Promise.all([output.close(), fileClosed()]);
    },
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
