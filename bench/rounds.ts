import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "./client/client.ts";
import { isQuiet, measure, type Measurement } from "./client/measure.ts";
import { makePrompt } from "./client/prompts.ts";
import { startCompetitors } from "./competitors.ts";
import type { Scenario } from "./scenarios/scenario.ts";
import { RunningServer } from "./servers/running-server.ts";
import { modelName, type Device, type Server, type ServerName } from "./servers/server.ts";

/** One server in one round of one scenario. */
export interface RoundResult {
  readonly scenario: string;
  readonly round: number;
  readonly server: ServerName;
  readonly command: string;
  readonly metrics: Readonly<Record<string, number>>;
  readonly measurement: Measurement;
  /** Runs that were made again because something else took too much of the machine meanwhile. */
  readonly discarded: number;
}

interface RoundsOptions {
  readonly servers: readonly Server[];
  readonly rounds: number;
  readonly modelPath: string;
  readonly threads: number;
  readonly device: Device;
  /** The part of the machine that others may take during a run, 0 to 1. */
  readonly maxForeignShare: number;
  readonly onProgress: (message: string) => void;
}

/** Threads that spin for a while after their last work would take time from the first measured token. */
const settleMs = 300;

/** How often a disturbed run is made again, and how long each waits for a quiet machine. */
const attempts = 5;
const quietLimitMs = 60_000;

/**
 * Runs a scenario's rounds. Only one server runs at a time, on a fresh start, and the order turns around with every round
 * (A B, B A, A B), so that neither a machine that slows down nor one that warms up favours one of them.
 */
export async function runRounds(scenario: Scenario, options: RoundsOptions): Promise<RoundResult[]> {
  const results: RoundResult[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    const order = round % 2 === 1 ? options.servers : [...options.servers].reverse();
    for (const server of order) {
      options.onProgress(`${scenario.name}, round ${round} of ${options.rounds}, ${server.name}`);
      results.push(await runUndisturbed(scenario, server, round, options));
    }
  }
  return results;
}

/** Whether a run counts is decided by what others did meanwhile, never by its result; the last attempt counts in any case. */
async function runUndisturbed(scenario: Scenario, server: Server, round: number, options: RoundsOptions): Promise<RoundResult> {
  for (let discarded = 0; ; discarded++) {
    await becomesQuiet(options.maxForeignShare);
    const result = await runOnce(scenario, server, round, options);
    const { foreignCpuShare } = result.measurement;
    const isDisturbed = foreignCpuShare > options.maxForeignShare;
    if (!isDisturbed || discarded === attempts - 1) return { ...result, discarded };
    options.onProgress(`  again: others took ${(foreignCpuShare * 100).toFixed(0)} % of the machine`);
  }
}

async function becomesQuiet(maxForeignShare: number): Promise<void> {
  const deadline = performance.now() + quietLimitMs;
  while (performance.now() < deadline && !(await isQuiet(maxForeignShare)));
}

async function runOnce(
  scenario: Scenario,
  server: Server,
  round: number,
  options: RoundsOptions,
): Promise<Omit<RoundResult, "discarded">> {
  const { modelPath, threads, device } = options;
  const { slots, contextSize } = scenario;
  const running = await RunningServer.start(server, { modelPath, threads, slots, contextSize, device });
  const stopCompetitors = startCompetitors(scenario.competitors);
  try {
    const client = new Client(running.port, modelName({ modelPath }));
    const seed = `${scenario.name} ${round}`;
    await warmUp(client, scenario, seed);
    const measurement = await measure(running.pid, () => scenario.run(client, seed));
    const metrics = scenario.evaluate(measurement);
    return { scenario: scenario.name, round, server: server.name, command: running.commandLine, metrics, measurement };
  } catch (thrown) {
    const what = thrown instanceof Error ? thrown.message : String(thrown);
    throw new Error(`${server.name} in ${scenario.name}, round ${round}: ${what}\nIts last lines:\n${running.lastLines}`, {
      cause: thrown,
    });
  } finally {
    stopCompetitors();
    await running.stop();
  }
}

/** A short answer on every slot: pages are read, memory is touched, kernels are compiled. */
async function warmUp(client: Client, { slots }: Scenario, seed: string): Promise<void> {
  await Promise.all(
    Array.from({ length: slots }, (_, index) => {
      const label = `warm-up ${index + 1}`;
      return client.complete({ label, prompt: makePrompt(`${seed} ${label}`, 24), tokens: 8 });
    }),
  );
  await sleep(settleMs);
}
