import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { sample, scrape } from "./metrics.ts";
import { residentMemory } from "./runner-memory.ts";
import { residentBytes, runnersOf, until, type ServerProcess } from "./processes.ts";

/** What a server, and its runners together, may take more of than before. */
const toleratedBytes = 64 * 1024 * 1024;
const toleratedDescriptors = 8;

export interface Taken {
  readonly bytes: number;
  /** Of its runners, what is not mapped from files. */
  readonly runnerBytes: number;
  readonly descriptors: number;
  readonly processes: number;
}

/** What a server takes when a model is loaded, nobody asks, and no log of an answer is kept any more. */
export async function takenBy(server: ServerProcess): Promise<Taken> {
  await until(async () => sample(await scrape(server.url), "llamapod_stream_replay_bytes") === 0);
  await until(async () => (await fetch(`${server.url}/health/ready`)).ok);
  const runners = await Promise.all(runnersOf(server.pid).map((pid) => residentMemory(pid)));
  return {
    runnerBytes: runners.reduce((sum, { own }) => sum + own, 0),
    bytes: residentBytes(server.pid),
    descriptors: readdirSync(`/proc/${server.pid}/fd`).length,
    processes: runnersOf(server.pid).length,
  };
}

export function assertNothingLeft(before: Taken, after: Taken): void {
  assert.ok(after.bytes < before.bytes + toleratedBytes, `memory: ${before.bytes} to ${after.bytes}`);
  assert.ok(
    after.runnerBytes < before.runnerBytes + toleratedBytes,
    `memory of the runners: ${before.runnerBytes} to ${after.runnerBytes}`,
  );
  assert.ok(
    after.descriptors <= before.descriptors + toleratedDescriptors,
    `${before.descriptors} to ${after.descriptors} descriptors`,
  );
  assert.ok(after.processes <= before.processes, `${before.processes} to ${after.processes} processes`);
}
