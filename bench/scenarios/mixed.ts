import type { Client } from "../client/client.ts";
import { makePrompt, roomFor } from "../client/prompts.ts";
import { median, percentile, sum } from "../client/statistics.ts";
import type { StreamTrace } from "../client/stream.ts";
import { contextFor, type Metric, type Scenario } from "./scenario.ts";
import { chunksWithin, durations, gaps, timeToFirstToken, type Gap } from "./timing.ts";

const decoders = 3;
const decoderPromptTokens = 96;
/** Chunks each decoder gets before the long prompt is sent, and after its first token, so that every gap has its end. */
const chunksBefore = 16;
const chunksAfter = 2;
const longAnswerTokens = 8;
const longLabel = "long prompt";

const metrics: readonly Metric[] = [
  { key: "itlP50Ms", label: "ITL p50 of the three, ms", better: "lower", digits: 1 },
  { key: "itlP95Ms", label: "ITL p95 of the three, ms", better: "lower", digits: 1 },
  { key: "itlMaxMs", label: "ITL max of the three, ms", better: "lower", digits: 0 },
  { key: "chunksPerSecond", label: "chunks/s of the three together", better: "higher", digits: 1 },
  { key: "longTtftMs", label: "TTFT of the long prompt, ms", better: "lower", digits: 0 },
  { key: "itlBeforeP50Ms", label: "ITL p50 before it came, ms", better: "lower", digits: 1 },
  { key: "promptTokens", label: "its prompt tokens", better: "none", digits: 0 },
];

/** Three streams decode, then a long prompt comes: what it does to them, and they to it. */
export function mixed(longPromptTokens: number): Scenario {
  const contextSize = contextFor(roomFor(longPromptTokens) + longAnswerTokens);
  // As many as there is room for: they decode until the long prompt has its first token, however long that takes.
  const decoderTokens = contextSize - roomFor(decoderPromptTokens);
  return {
    name: "mixed",
    title: `Mixed, ${decoders} streams decode when a long prompt comes`,
    slots: decoders + 1,
    contextSize,
    competitors: 0,
    metrics,
    run: (client, seed) => run(client, seed, { longPromptTokens, decoderTokens }),
    evaluate: ({ streams }) => evaluate(streams),
  };
}

async function run(
  client: Client,
  seed: string,
  { longPromptTokens, decoderTokens }: { longPromptTokens: number; decoderTokens: number },
): Promise<readonly StreamTrace[]> {
  const stop = new AbortController();
  const warm = new Milestone(decoders * chunksBefore);
  const past = new Milestone(decoders * chunksAfter);
  let longHasStarted = false;
  const running = Array.from({ length: decoders }, (_, index) => {
    const label = `stream ${index + 1}`;
    const prompt = makePrompt(`${seed} ${label}`, decoderPromptTokens);
    const seen = { before: 0, after: 0 };
    const onContent = (): void => {
      if (seen.before < chunksBefore) {
        seen.before++;
        warm.step();
      } else if (longHasStarted && seen.after < chunksAfter) {
        seen.after++;
        past.step();
      }
    };
    return client.complete({ label, prompt, tokens: decoderTokens, onContent, signal: stop.signal });
  });
  const all = Promise.all(running);
  const endedEarly = all.then(() => {
    throw new Error("the decoding streams ended before the long prompt had its first token: use a shorter prompt");
  });
  try {
    await Promise.race([warm.reached, endedEarly]);
    const long = client.complete({
      label: longLabel,
      prompt: makePrompt(`${seed} ${longLabel}`, longPromptTokens),
      tokens: longAnswerTokens,
      onContent: () => {
        longHasStarted = true;
      },
    });
    const [longTrace] = await Promise.race([Promise.all([long, past.reached]), endedEarly]);
    stop.abort();
    return [...(await all), longTrace];
  } finally {
    stop.abort();
    endedEarly.catch(() => undefined);
  }
}

function evaluate(streams: readonly StreamTrace[]): Record<string, number> {
  const long = streams.find(({ label }) => label === longLabel);
  const three = streams.filter(({ label }) => label !== longLabel);
  if (long === undefined) return {};
  const window: Gap = { from: long.sentAt, to: long.chunks.at(0)?.at ?? Number.NaN };
  const allGaps = three.flatMap(gaps);
  // In full length even where they reach over an edge: a stall that the prompt causes may outlast its prefill.
  const during = durations(allGaps.filter(({ from, to }) => to > window.from && from < window.to));
  const before = durations(allGaps.filter(({ to }) => to <= window.from));
  return {
    itlP50Ms: median(during),
    itlP95Ms: percentile(during, 0.95),
    itlMaxMs: Math.max(...during),
    chunksPerSecond: sum(three.map((stream) => chunksWithin(stream, window).length)) / ((window.to - window.from) / 1000),
    longTtftMs: timeToFirstToken(long),
    itlBeforeP50Ms: median(before),
    promptTokens: long.usage?.prompt_tokens ?? Number.NaN,
  };
}

/** Resolves `reached` after so many steps. */
class Milestone {
  readonly reached: Promise<void>;
  #left: number;
  #resolve: () => void = () => undefined;

  constructor(steps: number) {
    this.#left = steps;
    this.reached = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  step(): void {
    this.#left--;
    if (this.#left === 0) this.#resolve();
  }
}
