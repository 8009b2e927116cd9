import { once } from "node:events";
import { WebSocket } from "ws";
import { processCpuSeconds } from "../client/cpu-time.ts";
import { percentile } from "../client/statistics.ts";
import { SyntheticServer } from "../streams/synthetic-server.ts";

/** What a scrape of `/metrics` costs when every model has done some of everything: its runners are synthetic. */

export interface ScrapeBenchOptions {
  readonly models: number;
  readonly scrapes: number;
}

const slotsOfModel = 64;

const accepted = {
  OpenMetrics: "application/openmetrics-text;version=1.0.0",
  "plain text": "text/plain;version=0.0.4",
};

export async function benchScrape({ models, scrapes }: ScrapeBenchOptions): Promise<void> {
  await using server = await SyntheticServer.start(models * slotsOfModel, 50);
  for (const model of server.models) await useEverything(server.url, model);
  const rows: string[] = [];
  for (const [name, accept] of Object.entries(accepted)) {
    const { milliseconds, cpu, text } = await scrapeOften(server, accept, scrapes);
    const series = text.split("\n").filter((line) => line !== "" && !line.startsWith("#")).length;
    const times = [0.5, 0.99].map((quantile) => `${percentile(milliseconds, quantile).toFixed(1)} ms`);
    const cpuOfScrape = ((cpu / scrapes) * 1_000).toFixed(1);
    rows.push(`| ${models} models, ${name} | ${series} | ${kibibytes(text)} KiB | ${times.join(" / ")} | ${cpuOfScrape} ms |`);
  }
  process.stdout.write(`| | series | size | time, p50 / p99 | CPU |\n|---|---:|---:|---:|---:|\n${rows.join("\n")}\n`);
}

/** Makes every series of a model that answers make. */
async function useEverything(url: string, model: string): Promise<void> {
  for (const stream of [true, false]) {
    await ask(`${url}/v1/completions`, { model, prompt: "x", max_tokens: 3, stream });
    await ask(`${url}/v1/chat/completions`, { model, messages: [{ role: "user", content: "x" }], max_tokens: 3, stream });
    await ask(`${url}/v1/responses`, { model, input: "x", max_output_tokens: 16, stream });
  }
  const socket = new WebSocket(`${url.replace("http", "ws")}/v1/stream`, "llamapod.v1");
  await once(socket, "open");
  const done = new Promise<void>((resolve) => {
    socket.on("message", (data: Buffer) => {
      if ((JSON.parse(data.toString("utf8")) as { type: string }).type === "done") resolve();
    });
  });
  socket.send(JSON.stringify({ type: "generate", id: `in-${model}`, model, prompt: "x", max_tokens: 3 }));
  await done;
  socket.terminate();
}

async function ask(url: string, body: object): Promise<void> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
}

async function scrapeOften(
  server: SyntheticServer,
  accept: string,
  scrapes: number,
): Promise<{ milliseconds: number[]; cpu: number; text: string }> {
  const milliseconds: number[] = [];
  const cpuBefore = processCpuSeconds(server.pid);
  let text = "";
  for (let scrape = 0; scrape < scrapes; scrape++) {
    const begin = performance.now();
    text = await (await fetch(`${server.url}/metrics`, { headers: { Accept: accept } })).text();
    milliseconds.push(performance.now() - begin);
  }
  return { milliseconds, cpu: processCpuSeconds(server.pid) - cpuBefore, text };
}

function kibibytes(text: string): string {
  return (Buffer.byteLength(text) / 1_024).toFixed(0);
}
