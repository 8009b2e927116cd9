import { readdirSync, readFileSync } from "node:fs";
import { sum } from "./statistics.ts";

/** USER_HZ, the unit of CPU times in /proc: 100 on every Linux that Node.js is built for. */
const ticksPerSecond = 100;

interface ProcessTimes {
  readonly parent: number;
  readonly ticks: number;
}

/**
 * Seconds of CPU, user and system, that a process and all its descendants have used, those included that have ended and were
 * waited for. Undefined where there is no /proc.
 */
export function processTreeCpuSeconds(pid: number): number | undefined {
  const processes = readProcesses();
  if (!processes.has(pid)) return undefined;
  let ticks = 0;
  for (const [id, times] of processes) {
    if (descendsFrom(id, pid, processes)) ticks += times.ticks;
  }
  return ticks / ticksPerSecond;
}

/** Seconds of CPU, user and system, that a process alone has used. */
export function processCpuSeconds(pid: number): number {
  const [user = 0, system = 0] = timesOf(statOf(pid));
  return (user + system) / ticksPerSecond;
}

/** Seconds of CPU that the whole machine has spent on anything, and that a hypervisor has kept from it. */
export function machineCpuSeconds(): number | undefined {
  try {
    const [total = ""] = readFileSync("/proc/stat", "utf8").split("\n", 1);
    const [, user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0, steal = 0] = total.split(/\s+/).map(Number);
    return (user + nice + system + irq + softIrq + steal) / ticksPerSecond;
  } catch {
    return undefined;
  }
}

function readProcesses(): Map<number, ProcessTimes> {
  const processes = new Map<number, ProcessTimes>();
  for (const name of listProcesses()) {
    try {
      const pid = Number(name);
      const fields = statOf(pid);
      processes.set(pid, { parent: Number(fields[1]), ticks: sum(timesOf(fields)) });
    } catch {
      // It ended since the folder was listed.
    }
  }
  return processes;
}

/** The fields of a process after its command's name, which, in parentheses, may hold anything, spaces and parentheses included. */
function statOf(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/** Ticks: its own, user and system, and those of its children that have ended. */
function timesOf(fields: readonly string[]): number[] {
  return fields.slice(11, 15).map(Number);
}

function listProcesses(): string[] {
  try {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

function descendsFrom(id: number, ancestor: number, processes: ReadonlyMap<number, ProcessTimes>): boolean {
  for (let at: number | undefined = id; at !== undefined && at !== 0; at = processes.get(at)?.parent) {
    if (at === ancestor) return true;
  }
  return false;
}
