import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

/** What a process holds, in bytes, as the system counts it. */
export interface ResidentMemory {
  /** Not mapped from a file. */
  readonly own: number;
  /** Of GGUF files, mapped. */
  readonly mapped: number;
  /** The most that was resident at once since it started, all kinds together. */
  readonly peak: number;
}

export async function residentMemory(pid: number): Promise<ResidentMemory> {
  const [status, maps] = await Promise.all([readFile(`/proc/${pid}/status`, "latin1"), readFile(`/proc/${pid}/smaps`, "latin1")]);
  const mapped = maps
    .split(/^(?=[\da-f]+-[\da-f]+ )/m)
    .filter((part) => part.split("\n")[0]?.endsWith(".gguf") === true)
    .reduce((sum, part) => sum + bytesOf("Rss", part), 0);
  return { own: bytesOf("RssAnon", status), mapped, peak: bytesOf("VmHWM", status) };
}

function bytesOf(name: string, text: string): number {
  return 1_024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? assert.fail(`no ${name}`));
}
