import { availableParallelism } from "node:os";
import { Client } from "../client/client.ts";
import { percentile, sum } from "../client/statistics.ts";
import type { StreamTrace } from "../client/stream.ts";
import { findLlamaServer } from "../servers/llama-server.ts";
import { RunningServer } from "../servers/running-server.ts";
import type { Server } from "../servers/server.ts";
import { renderRows, type Row } from "./rows.ts";
import { llamapodOfFolder, routerOfFolder } from "./servers.ts";
import { twoModels, type TwoModels } from "./two-models.ts";

/** Steady traffic for two models of which one fits: who waits how long, and how often the models take turns. */

export interface MixedBenchOptions {
  readonly llamaServer?: string;
  readonly model?: string;
  readonly rounds: number;
  readonly clients: number;
  readonly tokens: number;
  readonly seconds: number;
}

interface Answer extends Pick<StreamTrace, "sentAt"> {
  readonly model: string;
  readonly firstTokenAt: number;
}

interface Traffic {
  readonly answers: readonly Answer[];
  readonly seconds: number;
}

export async function benchMixedTraffic(options: MixedBenchOptions): Promise<void> {
  const program = findLlamaServer(options.llamaServer);
  using models = await twoModels(options.model);
  const peers = [llamapodOfFolder(1), routerOfFolder(program, 1)];
  const traffic = new Map<string, Traffic[]>(peers.map(({ name }) => [name, []]));
  for (let round = 0; round < options.rounds; round++) {
    for (const server of round % 2 === 0 ? peers : [...peers].reverse()) {
      process.stderr.write(`mixed traffic, round ${round + 1} of ${options.rounds}, ${server.name}\n`);
      traffic.get(server.name)?.push(await trafficOf(server, models, options));
    }
  }
  const [ours = [], theirs = []] = peers.map(({ name }) => traffic.get(name) ?? []);
  process.stdout.write(renderRows(rowsOf(ours, theirs, options.tokens)));
}

/** Every client asks for its model, again and again; whoever is under way at the end is waited for. */
async function trafficOf(server: Server, models: TwoModels, { clients, tokens, seconds }: MixedBenchOptions): Promise<Traffic> {
  const threads = availableParallelism();
  const running = await RunningServer.start(server, {
    modelPath: models.firstPath,
    threads,
    slots: 4,
    contextSize: 2_048,
    device: "cpu",
  });
  try {
    const answers: Answer[] = [];
    const startedAt = performance.now();
    const ask = async (model: string, label: string): Promise<void> => {
      const client = new Client(running.port, model);
      for (let count = 1; performance.now() < startedAt + seconds * 1_000; count++) {
        const trace = await client.complete({
          label: `${label}.${count}`,
          prompt: `${label} asks for the ${count}th time.`,
          tokens,
        });
        answers.push({ model, sentAt: trace.sentAt, firstTokenAt: trace.chunks[0]?.at ?? trace.endedAt });
      }
    };
    const asking = models.names.flatMap((model) =>
      Array.from({ length: clients }, (_, index) => ask(model, `${model}, client ${index + 1}`)),
    );
    await Promise.all(asking);
    return { answers, seconds: (performance.now() - startedAt) / 1_000 };
  } finally {
    await running.stop();
  }
}

function rowsOf(ours: readonly Traffic[], theirs: readonly Traffic[], tokens: number): Row[] {
  const row = (what: string, measure: (traffic: readonly Traffic[]) => number): Row => ({
    what,
    ours: measure(ours),
    theirs: measure(theirs),
  });
  const minutes = (traffic: readonly Traffic[]) => sum(traffic.map(({ seconds }) => seconds)) / 60;
  return [
    row("wait for the first token, p50, ms ↓", (traffic) => percentile(traffic.flatMap(waits), 0.5)),
    row("p95, ms ↓", (traffic) => percentile(traffic.flatMap(waits), 0.95)),
    row("longest, ms ↓", (traffic) => percentile(traffic.flatMap(waits), 1)),
    row("answers a minute ↑", (traffic) => sum(traffic.map(({ answers }) => answers.length)) / minutes(traffic)),
    row("tokens a minute ↑", (traffic) => (sum(traffic.map(({ answers }) => answers.length)) * tokens) / minutes(traffic)),
    row("switches a minute", (traffic) => sum(traffic.map(switches)) / minutes(traffic)),
  ];
}

function waits({ answers }: Traffic): number[] {
  return answers.map(({ sentAt, firstTokenAt }) => firstTokenAt - sentAt);
}

/** One model fits, so wherever the first tokens go over from one model to the other there was a switch. */
function switches({ answers }: Traffic): number {
  const inOrder = [...answers].sort((a, b) => a.firstTokenAt - b.firstTokenAt);
  return inOrder.filter(({ model }, index) => index > 0 && model !== inOrder[index - 1]?.model).length;
}
