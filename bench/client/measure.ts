import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { machineCpuSeconds, processTreeCpuSeconds } from "./cpu-time.ts";
import type { StreamTrace } from "./stream.ts";

/** What one server did in one round of one scenario. */
export interface Measurement {
  readonly streams: readonly StreamTrace[];
  readonly wallSeconds: number;
  /** Used by the server and its children; NaN where the system does not tell. */
  readonly serverCpuSeconds: number;
  /** How busy this client was: 1 is a whole core. Near 1 it would measure itself. */
  readonly clientCpuShare: number;
  /** The part of the machine's CPU time that went to none of the benchmark's processes: noise. */
  readonly foreignCpuShare: number;
}

export async function measure(serverPid: number, work: () => Promise<readonly StreamTrace[]>): Promise<Measurement> {
  const before = snapshot(serverPid);
  const streams = await work();
  const after = snapshot(serverPid);
  const wallSeconds = after.wall - before.wall;
  const serverCpuSeconds = after.server - before.server;
  const foreign = after.machine - before.machine - (after.benchmark - before.benchmark);
  return {
    streams,
    wallSeconds,
    serverCpuSeconds,
    clientCpuShare: (after.client - before.client) / wallSeconds,
    foreignCpuShare: Math.max(0, foreign / (wallSeconds * availableParallelism())),
  };
}

const lookMs = 500;

/** Looks for a moment whether others leave the machine alone, while no server of the benchmark runs. */
export async function isQuiet(maxForeignShare: number): Promise<boolean> {
  const before = machineCpuSeconds() ?? 0;
  await sleep(lookMs);
  const after = machineCpuSeconds() ?? 0;
  return (after - before) / (availableParallelism() * (lookMs / 1000)) <= maxForeignShare;
}

function snapshot(serverPid: number): Record<"wall" | "server" | "client" | "benchmark" | "machine", number> {
  const own = process.cpuUsage();
  return {
    wall: performance.now() / 1000,
    server: processTreeCpuSeconds(serverPid) ?? Number.NaN,
    client: (own.user + own.system) / 1e6,
    benchmark: processTreeCpuSeconds(process.pid) ?? Number.NaN,
    machine: machineCpuSeconds() ?? Number.NaN,
  };
}
