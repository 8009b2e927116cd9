import { readFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { openStream } from "../client/stream.ts";
import { until } from "../../test/support/processes.ts";
import type { Way } from "./ways.ts";

export interface Figures {
  /** From the command to the first token of an answer. */
  readonly startMs: number;
  readonly tokensPerSecond: number;
  /** Of the server and its runners; what they share with others is shared out (PSS). */
  readonly memoryBytes: number;
  readonly requestsPerSecond: number;
}

export const answerTokens = 128;
export const connections = 8;
const rateSeconds = 3;
const startLimitMs = 120_000;

/** One run of the server from its start to its end. */
export async function measure(way: Way, port: number, model: string): Promise<Figures> {
  const beganAt = performance.now();
  const started = await way.start(port);
  try {
    await until(async () => {
      if (performance.now() > beganAt + startLimitMs)
        throw new Error(`${way.name}: the server is not ready after ${startLimitMs / 1_000} s`);
      return (await fetch(`http://127.0.0.1:${port}/health/ready`).catch(() => undefined))?.ok === true;
    });
    const first = await ask(port, model, 1);
    const startMs = (first.chunks[0]?.at ?? Number.NaN) - beganAt;
    const { chunks, usage } = await ask(port, model, answerTokens);
    const [begin, end] = [chunks[0]?.at ?? Number.NaN, chunks.at(-1)?.at ?? Number.NaN];
    const tokensPerSecond = ((((usage?.completion_tokens ?? 0) / chunks.length) * (chunks.length - 1)) / (end - begin)) * 1_000;
    const memoryBytes = memoryOf(await started.pid());
    return { startMs, tokensPerSecond, memoryBytes, requestsPerSecond: await rateOf(port) };
  } finally {
    await started.stop();
  }
}

function ask(port: number, model: string, tokens: number) {
  return openStream(port, {
    label: "answer",
    path: "/v1/completions",
    body: {
      model,
      prompt: "Once upon a time",
      max_tokens: tokens,
      temperature: 0,
      ignore_eos: true,
      stream: true,
      stream_options: { include_usage: true },
    },
  });
}

/** How many small requests a second get their answer, over connections that are kept. */
async function rateOf(port: number): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const until = performance.now() + rateSeconds * 1_000;
  let answers = 0;
  const work = async () => {
    while (performance.now() < until) {
      const call = request({ host: "127.0.0.1", port, path: "/health/live", agent }).end();
      const [response] = (await once(call, "response")) as [IncomingMessage];
      response.resume();
      await once(response, "end");
      answers++;
    }
  };
  await Promise.all(Array.from({ length: connections }, work));
  agent.destroy();
  return answers / rateSeconds;
}

function memoryOf(pid: number): number {
  const kibibytes = /^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1];
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  return Number(kibibytes) * 1_024 + children.map(memoryOf).reduce((total, bytes) => total + bytes, 0);
}
