import type { Client, Message } from "../client/client.ts";
import { makePrompt, roomFor } from "../client/prompts.ts";
import type { StreamTrace } from "../client/stream.ts";
import { contextFor, type Metric, type Scenario } from "./scenario.ts";
import { timeToFirstToken } from "./timing.ts";

const turns = [1, 2, 3, 4];
const systemTokens = 256;
const questionTokens = 128;
/** As many as a server has that nobody tuned: it must find the conversation's slot again. */
const slots = 4;

const metrics: readonly Metric[] = [
  ...turns.map((turn): Metric => ({ key: `ttftTurn${turn}Ms`, label: `TTFT of turn ${turn}, ms`, better: "lower", digits: 0 })),
  ...turns.flatMap((turn): Metric[] => [
    { key: `promptTurn${turn}`, label: `prompt tokens of turn ${turn}`, better: "none", digits: 0 },
    { key: `cachedTurn${turn}`, label: "of them from the cache", better: "none", digits: 0 },
  ]),
];

/** A conversation of four turns: each prompt is the whole history with the server's own answers in it. */
export function chat(answerTokens: number): Scenario {
  return {
    name: "chat",
    title: "Chat, four turns",
    slots,
    contextSize: contextFor(roomFor(systemTokens + turns.length * (questionTokens + answerTokens))),
    competitors: 0,
    metrics,
    run: (client, seed) => converse(client, seed, answerTokens),
    evaluate: ({ streams }) =>
      Object.fromEntries(
        streams.flatMap((stream, index) => [
          [`ttftTurn${index + 1}Ms`, timeToFirstToken(stream)],
          [`promptTurn${index + 1}`, stream.usage?.prompt_tokens ?? Number.NaN],
          [`cachedTurn${index + 1}`, stream.usage?.prompt_tokens_details?.cached_tokens ?? Number.NaN],
        ]),
      ),
  };
}

async function converse(client: Client, seed: string, tokens: number): Promise<readonly StreamTrace[]> {
  const messages: Message[] = [{ role: "system", content: makePrompt(`${seed} system`, systemTokens) }];
  const traces: StreamTrace[] = [];
  for (const turn of turns) {
    const label = `turn ${turn}`;
    messages.push({ role: "user", content: makePrompt(`${seed} ${label}`, questionTokens) });
    const trace = await client.chat({ label, messages, tokens });
    messages.push({ role: "assistant", content: trace.text });
    traces.push(trace);
  }
  return traces;
}
