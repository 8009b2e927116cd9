import { availableParallelism } from "node:os";
import { makePrompt, numberBetween, roomFor } from "../client/prompts.ts";
import { median, percentile } from "../client/statistics.ts";
import { contextFor, type Metric, type Scenario } from "./scenario.ts";
import { decodeRate, durations, gaps, generatedTokens, outputRate, timeToFirstToken, tokensPerChunk } from "./timing.ts";

const promptTokens = { least: 64, most: 128 };

const metrics: readonly Metric[] = [
  { key: "decodeTokensPerSecond", label: "decode, tokens/s", better: "higher", digits: 1 },
  { key: "outputTokensPerSecond", label: "output with prefill, tokens/s", better: "higher", digits: 1 },
  { key: "ttftP50Ms", label: "TTFT p50, ms", better: "lower", digits: 0 },
  { key: "ttftP95Ms", label: "TTFT p95, ms", better: "lower", digits: 0 },
  { key: "itlP50Ms", label: "ITL p50, ms", better: "lower", digits: 1 },
  { key: "itlP95Ms", label: "ITL p95, ms", better: "lower", digits: 1 },
  { key: "cpuSecondsPer1000Tokens", label: "CPU s per 1,000 tokens", better: "lower", digits: 1 },
  { key: "tokensPerChunk", label: "tokens per chunk", better: "none", digits: 2 },
];

/** Streams that start together, each with a prompt of its own, and decode together. */
export function decode(streams: number, tokens: number): Scenario {
  return {
    name: `decode-${streams}`,
    title: `Decode, ${streams === 1 ? "1 stream" : `${streams} streams`}`,
    slots: streams,
    contextSize: contextFor(roomFor(promptTokens.most) + tokens),
    competitors: 0,
    metrics,
    run: (client, seed) =>
      Promise.all(
        Array.from({ length: streams }, (_, index) => {
          const label = `stream ${index + 1}`;
          const length = numberBetween(`${seed} ${label}`, promptTokens.least, promptTokens.most);
          return client.complete({ label, prompt: makePrompt(`${seed} ${label}`, length), tokens });
        }),
      ),
    evaluate: ({ streams: traces, serverCpuSeconds }) => {
      const firsts = traces.map(timeToFirstToken);
      const pooled = durations(traces.flatMap(gaps));
      return {
        decodeTokensPerSecond: decodeRate(traces),
        outputTokensPerSecond: outputRate(traces),
        ttftP50Ms: median(firsts),
        ttftP95Ms: percentile(firsts, 0.95),
        itlP50Ms: median(pooled),
        itlP95Ms: percentile(pooled, 0.95),
        cpuSecondsPer1000Tokens: (serverCpuSeconds / generatedTokens(traces)) * 1000,
        tokensPerChunk: median(traces.map(tokensPerChunk)),
      };
    },
  };
}

/** The same while another program keeps half of the cores busy, as on a machine that is not the server's own. */
export function busy(streams: number, tokens: number): Scenario {
  const competitors = Math.ceil(availableParallelism() / 2);
  const { title, ...rest } = decode(streams, tokens);
  const others = competitors === 1 ? "another process spins" : `${competitors} other processes spin`;
  return { ...rest, name: `busy-${streams}`, title: `${title}, while ${others}`, competitors };
}
