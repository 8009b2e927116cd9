import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";

/** What a process holds, in bytes, as the system counts it. */
export interface ResidentMemory {
  /** Not mapped from a file. */
  readonly own: number;
  /** Of GGUF files, mapped. */
  readonly mapped: number;
  /**
   * Of these, what was read since `forgetReads`. The rest is there because the file was read through once: weights that were
   * copied into another order then are not looked at again, and the system takes their pages back when it wants them.
   */
  readonly read: number;
  /** The most that was resident at once since it started, all kinds together. */
  readonly peak: number;
}

export async function residentMemory(pid: number): Promise<ResidentMemory> {
  const [status, maps] = await Promise.all([readFile(`/proc/${pid}/status`, "latin1"), readFile(`/proc/${pid}/smaps`, "latin1")]);
  const files = maps.split(/^(?=[\da-f]+-[\da-f]+ )/m).filter((part) => part.split("\n")[0]?.endsWith(".gguf") === true);
  const sum = (name: string) => files.reduce((total, part) => total + bytesOf(name, part), 0);
  return { own: bytesOf("RssAnon", status), mapped: sum("Rss"), read: sum("Referenced"), peak: bytesOf("VmHWM", status) };
}

/** Marks every page of a mapped file as not read. */
export async function forgetReads(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, "3");
}

function bytesOf(name: string, text: string): number {
  return 1_024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? assert.fail(`no ${name}`));
}
