import { hasEnded, liveTokensPerSecond, type Failure, type GenerateRequest, type Generation } from "llamapod/client";

export interface Statistics {
  readonly tokens: number;
  readonly promptTokens?: number | undefined;
  readonly tokensPerSecond?: number | undefined;
  readonly ttftMs?: number | undefined;
  /** How often the model had to be started again on the way. */
  readonly interruptions?: number | undefined;
}

export interface UserTurn {
  readonly role: "user";
  readonly text: string;
}

export interface AnswerTurn {
  readonly role: "assistant";
  /** The id of its generation. */
  readonly id: string;
  readonly text: string;
  readonly outcome: "running" | "complete" | "length" | "stopped" | "failed";
  readonly model?: string | undefined;
  readonly statistics?: Statistics | undefined;
  readonly failure?: Failure | undefined;
}

export type Turn = UserTurn | AnswerTurn;

type Messages = NonNullable<GenerateRequest["messages"]>;

/** The turns as the model is to read them. An answer that never began leaves its question to the next one. */
export function toMessages(turns: readonly Turn[], systemPrompt: string): Messages {
  const messages: { role: "system" | "user" | "assistant"; content: string }[] = [];
  if (systemPrompt.trim() !== "") messages.push({ role: "system", content: systemPrompt });
  for (const { role, text } of turns) {
    if (role === "assistant" && text === "") continue;
    const before = messages.at(-1);
    if (before?.role === role) before.content += `\n\n${text}`;
    else messages.push({ role, content: text });
  }
  return messages;
}

export function answerOf(generation: Generation, ttftMs: number | undefined): AnswerTurn {
  const { id, text, phase, model } = generation;
  const answer = { role: "assistant", id, text, model, statistics: statisticsOf(generation, ttftMs) } as const;
  if (!hasEnded(generation)) return { ...answer, outcome: "running" };
  if (phase.kind === "failed") return { ...answer, outcome: "failed", failure: phase.failure };
  if (phase.kind !== "done" || phase.done.finish_reason === "cancelled") return { ...answer, outcome: "stopped" };
  return { ...answer, outcome: phase.done.finish_reason === "length" ? "length" : "complete" };
}

function statisticsOf(generation: Generation, ttftMs: number | undefined): Statistics | undefined {
  const { phase, tokens, promptTokens } = generation;
  if (phase.kind === "done") {
    const { usage, timings } = phase.done;
    return {
      tokens: usage.completion_tokens,
      promptTokens: usage.prompt_tokens,
      tokensPerSecond: timings.decode_tokens_per_second,
      ttftMs: timings.ttft_ms,
      interruptions: timings.interruptions,
    };
  }
  if (tokens === 0) return undefined;
  return { tokens, promptTokens, tokensPerSecond: liveTokensPerSecond(generation), ttftMs };
}
