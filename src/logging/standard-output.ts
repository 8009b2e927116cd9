import { once } from "node:events";
import { pino, type DestinationStream } from "pino";
import pretty from "pino-pretty";

/** What a reader that has stopped may leave unread before lines are left out: minutes of a busy server. */
const mostUnreadBytes = 4 * 1024 * 1024;

/** A reader that has stopped does not keep the server from ending. */
const closingMs = 1000;

export interface Output {
  readonly stream: DestinationStream;
  /** What comes later is not written. Resolves when every line is, or when nobody has read the rest for a second. */
  readonly close: () => Promise<void>;
}

/** Readable lines on a terminal; elsewhere lines of JSON, and a reader that stops reading never holds the server up. */
export function standardOutput(): Output {
  if (process.stdout.isTTY) {
    return {
      stream: pretty({ ignore: "pid,hostname", translateTime: "SYS:HH:MM:ss", sync: true }),
      close: () => Promise.resolve(),
    };
  }
  let patienceUntil = Infinity;
  const retryEAGAIN = () => performance.now() < patienceUntil;
  const stream = pino.destination({ fd: 1, sync: false, maxLength: mostUnreadBytes, retryEAGAIN });
  const flushSync = stream.flushSync.bind(stream);
  // At an exit without `close`, it would try for as long as nobody reads.
  stream.flushSync = () => {
    patienceUntil = performance.now() + closingMs;
    try {
      flushSync();
    } catch {
      stream.destroy();
    }
  };
  tellOfDropped(stream);
  let isClosed = false;
  return {
    stream: {
      // Without `flushSync`, which pino calls for each fatal line, and which waits for the reader.
      write: (line) => {
        if (!isClosed) stream.write(line);
      },
    },
    close: async () => {
      isClosed = true;
      const closed = once(stream, "close", { signal: AbortSignal.timeout(closingMs) });
      stream.end();
      // What is left has no reader: without this, it would be written at exit, and waited for.
      await closed.catch(() => stream.destroy());
    },
  };
}

/** A line in place of the lines that were left out, as soon as there is room again. */
function tellOfDropped(stream: ReturnType<typeof pino.destination>): void {
  const log = pino({ level: "warn" }, stream);
  let dropped = 0;
  stream.on("drop", () => (dropped += 1));
  stream.on("drain", () => {
    if (dropped === 0) return;
    const count = dropped;
    dropped = 0;
    log.warn({ dropped: count }, `nobody read the log on standard output: ${count} lines were left out`);
  });
}
