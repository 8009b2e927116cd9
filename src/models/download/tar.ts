import { once } from "node:events";
import { Parser, type ReadEntry } from "tar";

/** What an archive has in it, as far as it is of use here. */
export interface ArchiveEntry {
  /** As the archive has it: it may be anything, and names no file here. */
  readonly path: string;
  readonly isFile: boolean;
  readonly isFolder: boolean;
  readonly sizeBytes: number;
  /** Can be read once, and need not be. The first chunk has 512 bytes, or all that there are. */
  readonly content: AsyncIterable<Buffer>;
}

/**
 * Reads a tar archive, one entry after the other. Links, devices and sparse files have no content; what follows the archive's end is
 * read and ignored.
 *
 * @throws {TarError} for what is no archive, or half of one; and whatever `visit` throws
 */
export async function readTar(source: AsyncIterable<Buffer>, visit: (entry: ArchiveEntry) => Promise<void>): Promise<void> {
  const parser = new Parser();
  const failures: unknown[] = [];
  let visited = Promise.resolve();
  const archive = { hasEnded: false };
  parser.on("warn", (_code: string, message: string) => failures.push(new TarError(message)));
  parser.on("error", (error: Error) => failures.push(new TarError(error.message)));
  parser.on("eof", () => (archive.hasEnded = true));
  let current: ReadEntry | undefined;
  parser.on("entry", (entry: ReadEntry) => {
    current = entry;
    visited = visited.then(() => visitOne(entry, visit)).catch((thrown: unknown) => void failures.push(thrown));
    // What nobody reads holds up the entries behind it.
    void visited.then(() => entry.resume());
  });
  const check = (): void => {
    if (failures.length > 0) throw failures[0];
  };
  try {
    for await (const chunk of plain(source)) {
      // The parser keeps what comes behind the end.
      if (archive.hasEnded) continue;
      const hasRoom = parser.write(chunk);
      check();
      if (!hasRoom) await once(parser, "drain");
    }
    const finished = once(parser, "end");
    parser.end();
    await finished;
  } finally {
    // Whoever reads it waits for the rest.
    current?.end();
    await visited;
  }
  check();
}

export class TarError extends Error {}

/** How gzip and zstd begin. */
const compressed = [Buffer.from([0x1f, 0x8b]), Buffer.from([0x28, 0xb5, 0x2f, 0xfd])];
const longestBeginning = 4;

/** What the parser would unpack by itself, out of sight, is refused. */
async function* plain(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let beginning = Buffer.alloc(0);
  let isChecked = false;
  for await (const chunk of source) {
    if (isChecked) {
      yield chunk;
      continue;
    }
    beginning = Buffer.concat([beginning, chunk]);
    if (beginning.length < longestBeginning) continue;
    const bytes = beginning;
    if (compressed.some((magic) => magic.equals(bytes.subarray(0, magic.length))))
      throw new TarError("it is compressed, which its media type does not say");
    isChecked = true;
    yield beginning;
  }
  if (!isChecked) yield beginning;
}

async function visitOne(entry: ReadEntry, visit: (entry: ArchiveEntry) => Promise<void>): Promise<void> {
  const isFile = entry.type === "File" || entry.type === "OldFile";
  const isFolder = entry.type === "Directory" || entry.type === "GNUDumpDir";
  await visit({ path: entry.path, isFile, isFolder, sizeBytes: entry.size, content: entry });
}
