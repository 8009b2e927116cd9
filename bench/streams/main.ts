import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";
import { percentile } from "../client/statistics.ts";
import { SyntheticServer } from "./synthetic-server.ts";

/** How the server carries many connections and many streams, whatever the model costs: its runners are synthetic. */

export interface StreamBenchOptions {
  readonly connections: number;
  readonly streams: number;
  readonly rate: number;
  readonly seconds: number;
}

interface Result {
  readonly what: string;
  readonly value: string;
}

const connectionsAtOnce = 100;

/** Long enough for every connection to get its heartbeat. */
const shortestIdleSeconds = 25;

export async function benchStreams(options: StreamBenchOptions): Promise<void> {
  const results = [...(await idle(options)), ...(await streaming(options))];
  process.stdout.write(`| | |\n|---|---:|\n${results.map(({ what, value }) => `| ${what} | ${value} |`).join("\n")}\n`);
}

async function idle({ connections, rate, seconds }: StreamBenchOptions): Promise<Result[]> {
  await using server = await SyntheticServer.start(1, rate);
  // The first ones load code that all others share.
  const sockets = await openAll(server, connectionsAtOnce);
  await sleep(1_000);
  const before = server.memoryBytes;
  const startedAt = performance.now();
  while (sockets.length < connections + connectionsAtOnce) sockets.push(...(await openAll(server, connectionsAtOnce)));
  const openedIn = performance.now() - startedAt;
  await sleep(2_000);
  const each = (server.memoryBytes - before) / connections;
  const idleSeconds = Math.max(seconds, shortestIdleSeconds);
  const cpuBefore = server.cpuSeconds;
  const delaysBefore = await server.eventLoopDelays();
  await sleep(idleSeconds * 1_000);
  const cpu = ((server.cpuSeconds - cpuBefore) / idleSeconds) * 100;
  const delays = difference(await server.eventLoopDelays(), delaysBefore);
  for (const socket of sockets) socket.terminate();
  return [
    { what: `${connections} idle connections: main memory of the server for each`, value: `${(each / 1_024).toFixed(1)} KiB` },
    { what: "opened in a second", value: (connections / (openedIn / 1_000)).toFixed(0) },
    { what: "event-loop delay while idle, p99 / longest, below", value: `${bound(delays, 0.99)} / ${bound(delays, 1)}` },
    { what: "CPU while idle, heartbeats included", value: `${cpu.toFixed(1)} % of a core` },
  ];
}

/** What a cumulative histogram has counted between two readings. */
function difference(after: ReadonlyMap<number, number>, before: ReadonlyMap<number, number>): ReadonlyMap<number, number> {
  return new Map([...after].map(([upper, count]) => [upper, count - (before.get(upper) ?? 0)]));
}

/** The upper bound of the bucket in which a quantile lies. */
function bound(histogram: ReadonlyMap<number, number>, quantile: number): string {
  const total = histogram.get(Infinity) ?? 0;
  const found = [...histogram].find(([, count]) => count >= quantile * total)?.[0] ?? Infinity;
  return ms(found * 1_000);
}

async function streaming({ streams, rate, seconds }: StreamBenchOptions): Promise<Result[]> {
  await using server = await SyntheticServer.start(streams, rate);
  const sockets = await openAll(server, streams);
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
  const cpuBefore = server.cpuSeconds;
  const clientBefore = process.cpuUsage();
  const startedAt = performance.now();
  await Promise.all(readers);
  const elapsed = (performance.now() - startedAt) / 1_000;
  const cpu = ((server.cpuSeconds - cpuBefore) / elapsed) * 100;
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

async function openAll(server: SyntheticServer, count: number): Promise<WebSocket[]> {
  const opened: WebSocket[] = [];
  while (opened.length < count) {
    const batch = Array.from({ length: Math.min(connectionsAtOnce, count - opened.length) }, () => {
      return new WebSocket(`${server.url.replace("http", "ws")}/v1/stream`, "llamapod.v1", { perMessageDeflate: false });
    });
    await Promise.all(batch.map((socket) => once(socket, "open")));
    opened.push(...batch);
  }
  return opened;
}

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 0)} ms`;
}
