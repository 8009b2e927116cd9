import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { runnersOf, until, type ServerProcess } from "./processes.ts";

/** What a server may take more of than before. A log of an ended answer is kept for a second in these tests. */
const toleratedBytes = 64 * 1024 * 1024;
const toleratedDescriptors = 8;

export interface Taken {
  readonly bytes: number;
  readonly descriptors: number;
  readonly processes: number;
}

/** What a server takes when a model is loaded and nobody asks. */
export async function takenBy(server: ServerProcess): Promise<Taken> {
  await until(async () => (await fetch(`${server.url}/health/ready`)).ok);
  await sleep(2_500);
  await until(async () => (await fetch(`${server.url}/health/ready`)).ok);
  const [, kilobytes = "0"] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${server.pid}/status`, "utf8")) ?? [];
  return {
    bytes: Number(kilobytes) * 1_024,
    descriptors: readdirSync(`/proc/${server.pid}/fd`).length,
    processes: runnersOf(server.pid).length,
  };
}

export function assertNothingLeft(before: Taken, after: Taken): void {
  assert.ok(after.bytes < before.bytes + toleratedBytes, `memory: ${before.bytes} to ${after.bytes}`);
  assert.ok(
    after.descriptors <= before.descriptors + toleratedDescriptors,
    `${before.descriptors} to ${after.descriptors} descriptors`,
  );
  assert.ok(after.processes <= before.processes, `${before.processes} to ${after.processes} processes`);
}
