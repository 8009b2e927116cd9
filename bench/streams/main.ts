import { processCpuSeconds } from "../client/cpu-time.ts";
import { percentile } from "../client/statistics.ts";
import { openWebSocket } from "../connections/clients.ts";
import { SyntheticServer } from "./synthetic-server.ts";

/** How the server carries many streams, whatever the model costs: its runners are synthetic. */

export interface StreamBenchOptions {
  readonly streams: number;
  readonly rate: number;
  readonly seconds: number;
}

interface Result {
  readonly what: string;
  readonly value: string;
}

export async function benchStreams(options: StreamBenchOptions): Promise<void> {
  const results = await streaming(options);
  process.stdout.write(`| | |\n|---|---:|\n${results.map(({ what, value }) => `| ${what} | ${value} |`).join("\n")}\n`);
}

async function streaming({ streams, rate, seconds }: StreamBenchOptions): Promise<Result[]> {
  await using server = await SyntheticServer.start(streams, rate);
  const sockets = await Promise.all(Array.from({ length: streams }, () => openWebSocket(server.url)));
  await loadAll(server);
  const tokens = Math.round(rate * seconds);
  const delays: number[] = [];
  let frames = 0;
  let counted = 0;
  const readers = sockets.map((socket, index) => {
    const model = server.models[index % server.models.length];
    socket.send(JSON.stringify({ type: "generate", id: `s${index}`, prompt: "x", model, max_tokens: tokens }));
    return new Promise<void>((resolve, reject) => {
      socket.on("message", (data: Buffer) => {
        const arrivedAt = performance.timeOrigin + performance.now();
        const message = JSON.parse(data.toString("utf8")) as {
          type: string;
          n?: number;
          seq?: number;
          text?: string;
          message?: string;
        };
        if (message.type === "done") resolve();
        if (message.type === "error") reject(new Error(message.message));
        if (message.type !== "delta") return;
        frames++;
        counted += message.n ?? 0;
        for (const sampledAt of (message.text ?? "").trim().split(" ")) delays.push(arrivedAt - Number(sampledAt));
        if ((message.seq ?? 0) % 16 === 0) socket.send(JSON.stringify({ type: "ack", id: `s${index}`, seq: message.seq }));
      });
    });
  });
  const cpuBefore = processCpuSeconds(server.pid);
  const clientBefore = process.cpuUsage();
  const startedAt = performance.now();
  await Promise.all(readers);
  const elapsed = (performance.now() - startedAt) / 1_000;
  const cpu = ((processCpuSeconds(server.pid) - cpuBefore) / elapsed) * 100;
  const { user, system } = process.cpuUsage(clientBefore);
  const client = ((user + system) / 1e6 / elapsed) * 100;
  if (counted !== streams * tokens) throw new Error(`${counted} tokens arrived of ${streams * tokens}`);
  for (const socket of sockets) socket.terminate();
  return [
    {
      what: `${streams} streams of ${rate} tokens/s: from sampled to received, p50 / p99`,
      value: `${ms(percentile(delays, 0.5))} / ${ms(percentile(delays, 0.99))}`,
    },
    { what: "tokens in a second, all streams together", value: (counted / elapsed).toFixed(0) },
    { what: "tokens in a frame", value: (counted / frames).toFixed(2) },
    { what: "CPU of the server, its runners not included", value: `${cpu.toFixed(0)} % of a core` },
    { what: "CPU of the client", value: `${client.toFixed(0)} % of a core` },
  ];
}

/** Each model has answered once. */
async function loadAll({ url, models }: SyntheticServer): Promise<void> {
  const asked = models.map((model) => {
    const body = JSON.stringify({ model, prompt: "x", max_tokens: 1 });
    return fetch(`${url}/v1/completions`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  });
  for (const response of await Promise.all(asked)) if (!response.ok) throw new Error(await response.text());
}

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 0)} ms`;
}
