import { availableParallelism } from "node:os";
import { median, percentile } from "../client/statistics.ts";
import { renderRows, type Row } from "./rows.ts";
import { findLlamaServer } from "../servers/llama-server.ts";
import { RunningServer } from "../servers/running-server.ts";
import type { Server } from "../servers/server.ts";
import { ask } from "./ask.ts";
import { llamapodOfFolder, routerOfFolder } from "./servers.ts";
import { twoModels, type TwoModels } from "./two-models.ts";

/** How long a request waits whose model has to be loaded first, or is loaded beside another one; llama-server's router beside it. */

export interface SwitchBenchOptions {
  readonly llamaServer?: string;
  readonly model?: string;
  readonly rounds: number;
  readonly switches: number;
}

export async function benchSwitching(options: SwitchBenchOptions): Promise<void> {
  const program = findLlamaServer(options.llamaServer);
  using models = await twoModels(options.model);
  const rows: Row[] = [];
  for (const [what, resident] of [
    ["memory for one of two", 1],
    ["memory for both", 2],
  ] as const) {
    const peers = [llamapodOfFolder(resident), routerOfFolder(program, resident)];
    const times = new Map<string, number[]>(peers.map(({ name }) => [name, []]));
    for (let round = 0; round < options.rounds; round++) {
      for (const server of round % 2 === 0 ? peers : [...peers].reverse()) {
        process.stderr.write(`${what}, round ${round + 1} of ${options.rounds}, ${server.name}\n`);
        times.get(server.name)?.push(...(await alternate(server, models, options.switches)));
      }
    }
    const [ours = [], theirs = []] = peers.map(({ name }) => times.get(name) ?? []);
    rows.push(
      { what: `${what}: request to first token of the other model, p50, ms ↓`, ours: median(ours), theirs: median(theirs) },
      { what: `${what}: p95, ms ↓`, ours: percentile(ours, 0.95), theirs: percentile(theirs, 0.95) },
    );
  }
  process.stdout.write(renderRows(rows));
}

/** Asks the one model and the other in turns. @returns how long each took to its only token, in milliseconds */
async function alternate(server: Server, { names: [first, second], firstPath }: TwoModels, switches: number): Promise<number[]> {
  const threads = availableParallelism();
  const running = await RunningServer.start(server, {
    modelPath: firstPath,
    threads,
    slots: 4,
    contextSize: 2_048,
    device: "cpu",
  });
  try {
    // Each is loaded once before, so that both servers know both files.
    for (const model of [first, second]) await ask(running.port, model);
    const times: number[] = [];
    for (let index = 0; index < switches; index++) times.push(await ask(running.port, index % 2 === 0 ? first : second));
    return times;
  } finally {
    await running.stop();
  }
}
