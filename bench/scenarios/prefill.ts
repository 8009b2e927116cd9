import { makePrompt, roomFor } from "../client/prompts.ts";
import { contextFor, type Metric, type Scenario } from "./scenario.ts";
import { timeToFirstToken } from "./timing.ts";

/** Enough for a first character, which may take more than one token. */
const answerTokens = 8;

const metrics: readonly Metric[] = [
  { key: "prefillTokensPerSecond", label: "prefill, tokens/s", better: "higher", digits: 1 },
  { key: "ttftMs", label: "TTFT, ms", better: "lower", digits: 0 },
  { key: "cpuSecondsPer1000Tokens", label: "CPU s per 1,000 prompt tokens", better: "lower", digits: 2 },
  { key: "promptTokens", label: "prompt tokens", better: "none", digits: 0 },
];

/** One long prompt on an idle server. */
export function prefill(promptTokens: number): Scenario {
  return {
    name: "prefill",
    title: "Prefill, one long prompt",
    slots: 1,
    contextSize: contextFor(roomFor(promptTokens) + answerTokens),
    competitors: 0,
    metrics,
    run: async (client, seed) => [
      await client.complete({ label: "long prompt", prompt: makePrompt(seed, promptTokens), tokens: answerTokens }),
    ],
    evaluate: ({ streams: [stream], serverCpuSeconds }) => {
      if (stream === undefined) return {};
      const tokens = stream.usage?.prompt_tokens ?? Number.NaN;
      const ttftMs = timeToFirstToken(stream);
      return {
        prefillTokensPerSecond: tokens / (ttftMs / 1000),
        ttftMs,
        cpuSecondsPer1000Tokens: (serverCpuSeconds / tokens) * 1000,
        promptTokens: tokens,
      };
    },
  };
}
