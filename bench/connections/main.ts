import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { residentBytes } from "../../test/support/processes.ts";
import { processCpuSeconds } from "../client/cpu-time.ts";
import { percentile } from "../client/statistics.ts";
import { formatNumber } from "../report/format.ts";
import { repository } from "../paths.ts";
import { findLlamaServer, llamaServer } from "../servers/llama-server.ts";
import { llamapod } from "../servers/llamapod.ts";
import { RunningServer } from "../servers/running-server.ts";
import type { Server } from "../servers/server.ts";
import { askHealth, keptAlive, openAll, webSocket, type Connect } from "./clients.ts";
import { boundBetween, loopDelays } from "./event-loop.ts";

/**
 * What clients cost that are connected and ask for nothing. Of llamapod they hold a WebSocket. llama-server has none: there
 * they hold what its clients hold between two requests, an HTTP connection that is kept alive.
 */

export interface ConnectionBenchOptions {
  readonly llamaServer?: string;
  readonly connections: number;
  readonly seconds: number;
}

interface Peer {
  readonly server: Server;
  readonly connect: Connect;
  readonly healthPath: string;
}

interface Figures {
  readonly opened: number;
  readonly openSeconds: number;
  readonly stillOpen: number;
  readonly kibibytesEach: number;
  readonly cpuShare: number;
  /** Milliseconds that `/health` took while they were there; Infinity where it was given up. */
  readonly answers: readonly number[];
  readonly lateness: { readonly p99: number; readonly longest: number } | undefined;
}

const openLimitMs = 60_000;
const askEveryMs = 500;
const answerLimitMs = 10_000;

export async function benchConnections(options: ConnectionBenchOptions): Promise<void> {
  const limit = String(2 * options.connections);
  const flags = ["--max-connections", limit, "--max-connections-per-client", limit];
  const ours = await figuresOf({ server: llamapod(flags), connect: webSocket, healthPath: "/health/live" }, options);
  const program = findLlamaServer(options.llamaServer);
  const theirs = await figuresOf({ server: llamaServer(program, []), connect: keptAlive, healthPath: "/health" }, options);
  const rows: [string, (figures: Figures) => string][] = [
    ["connections that were opened", ({ opened }) => formatNumber(opened, 0)],
    ["opened in a second", ({ opened, openSeconds }) => formatNumber(opened / openSeconds, 0)],
    [`still open after ${options.seconds} s`, ({ stillOpen }) => formatNumber(stillOpen, 0)],
    ["main memory of the server for each, KiB", ({ kibibytesEach }) => formatNumber(kibibytesEach, 1)],
    ["CPU meanwhile, % of a core", ({ cpuShare }) => formatNumber(cpuShare * 100, 1)],
    ["a health request meanwhile, p50, ms", ({ answers }) => formatNumber(percentile(answers, 0.5), 1)],
    ["longest, ms (– is more than ten seconds)", ({ answers }) => formatNumber(Math.max(...answers), 1)],
    ["event loop's delay p99 / longest, below, ms", ({ lateness }) => (lateness ? `${lateness.p99} / ${lateness.longest}` : "–")],
  ];
  const lines = rows.map(([what, show]) => `| ${what} | ${show(ours)} | ${show(theirs)} |`);
  process.stdout.write(
    `| ${options.connections} idle clients | llamapod | llama-server |\n|---|---:|---:|\n${lines.join("\n")}\n`,
  );
}

async function figuresOf(
  { server, connect, healthPath }: Peer,
  { connections, seconds }: ConnectionBenchOptions,
): Promise<Figures> {
  process.stderr.write(`${connections} idle clients of ${server.name}\n`);
  const modelPath = join(repository, "demo-models", "llamapod-demo.gguf");
  const running = await RunningServer.start(server, { modelPath, threads: 2, slots: 4, contextSize: 512, device: "cpu" });
  const { port, pid } = running;
  const url = `http://127.0.0.1:${port}`;
  try {
    // The first one loads code that all others share.
    (await connect(port)).close();
    await sleep(1_000);
    const memoryBefore = residentBytes(pid);
    const startedAt = performance.now();
    const clients = await openAll(connect, port, connections, openLimitMs);
    const openSeconds = (performance.now() - startedAt) / 1_000;
    const opened = clients.length;
    await sleep(1_000);
    const kibibytesEach = (residentBytes(pid) - memoryBefore) / 1_024 / opened;
    const delaysBefore = await readDelays(server, url);
    const [cpuBefore, idleSince] = [processCpuSeconds(pid), performance.now()];
    const answers: number[] = [];
    while (performance.now() < idleSince + seconds * 1_000) {
      answers.push(await askHealth(port, healthPath, answerLimitMs));
      await sleep(askEveryMs);
    }
    const cpuShare = (processCpuSeconds(pid) - cpuBefore) / ((performance.now() - idleSince) / 1_000);
    const delaysAfter = await readDelays(server, url);
    const stillOpen = clients.filter(({ isOpen }) => isOpen).length;
    const lateness = delaysBefore &&
      delaysAfter && { p99: boundBetween(delaysBefore, delaysAfter, 0.99), longest: boundBetween(delaysBefore, delaysAfter, 1) };
    for (const client of clients) client.close();
    return { opened, openSeconds, stillOpen, kibibytesEach, cpuShare, answers, lateness };
  } finally {
    await running.stop();
  }
}

function readDelays(server: Server, url: string): ReturnType<typeof loopDelays> | undefined {
  return server.name === "llamapod" ? loopDelays(url) : undefined;
}
