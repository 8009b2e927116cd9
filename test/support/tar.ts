import { Header } from "tar";

export interface TarEntry {
  readonly path: string;
  readonly content?: Buffer;
  readonly type?: "File" | "Link" | "SymbolicLink" | "Directory" | "ExtendedHeader" | "GNUDumpDir";
  readonly linkpath?: string;
  /** Instead of the truth. */
  readonly claimedSize?: number;
}

/** A tar archive, block by block, so that it can be wrong in every way. */
export function tarOf(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.flatMap(blocksOf), Buffer.alloc(1_024)]);
}

function blocksOf({ path, content = Buffer.alloc(0), type = "File", linkpath, claimedSize }: TarEntry): Buffer[] {
  const size = claimedSize ?? content.length;
  const block = Buffer.alloc(512);
  const mode = type === "Directory" ? 0o755 : 0o644;
  new Header({ path, size, type, mode, ...(linkpath !== undefined && { linkpath }) }).encode(block, 0);
  return [block, content, Buffer.alloc((512 - (content.length % 512)) % 512)];
}
