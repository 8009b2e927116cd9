import { readFileSync } from "node:fs";

/**
 * Memory of this process that is its own, in bytes: not mapped from a file, which others share and the system can take
 * back. Where the system does not tell (it is no Linux), all that is resident.
 */
export function ownMemory(): number {
  try {
    const kibibytes = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1];
    if (kibibytes !== undefined) return Number(kibibytes) * 1_024;
  } catch {
    // There is no such file.
  }
  return process.memoryUsage.rss();
}
