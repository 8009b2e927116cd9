import { multistream, pino, type Logger } from "pino";
import { LogFile } from "./log-file.ts";
import { standardOutput } from "./standard-output.ts";

export interface LogSettings {
  readonly logLevel: string;
  /** Undefined for none. */
  readonly logFile?: string | undefined;
  readonly logFileBytes: number;
  readonly logFileCount: number;
}

/** A logger, and the file behind it. */
export interface Logging {
  readonly log: Logger;
  /** Resolves when every line is written. */
  readonly close: () => Promise<void>;
}

/**
 * Lines on standard output, and in a file too if there is to be one.
 *
 * @throws {Error} of the operating system where the file cannot be written
 */
export function openLog({ logLevel: level, logFile, logFileBytes: bytes, logFileCount: count }: LogSettings): Logging {
  const output = standardOutput();
  if (logFile === undefined) return { log: pino({ level }, output.stream), close: output.close };
  const file = new LogFile(logFile, { bytes, count }, ({ message }) => {
    process.stderr.write(`The log file ${logFile} cannot be written: ${message}\n`);
  });
  return {
    // Each logger has its level; the streams take what comes.
    log: pino({ level }, multistream([output.stream, file].map((stream) => ({ level: "trace", stream })))),
    close: async () => {
      await Promise.all([output.close(), file.close()]);
    },
  };
}
