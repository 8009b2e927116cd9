import type { Client } from "../client/client.ts";
import type { Measurement } from "../client/measure.ts";
import type { StreamTrace } from "../client/stream.ts";

export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly slots: number;
  /** Tokens per slot that the scenario needs. */
  readonly contextSize: number;
  /** Processes that spin meanwhile, each of which wants a core for itself. */
  readonly competitors: number;
  readonly metrics: readonly Metric[];
  /** The measured part. The seed is of the round: both servers get the same prompts, and each round new ones. */
  run(client: Client, seed: string): Promise<readonly StreamTrace[]>;
  /** The metrics of one run, by key. */
  evaluate(measurement: Measurement): Readonly<Record<string, number>>;
}

export interface Metric {
  readonly key: string;
  readonly label: string;
  /** Which of two values is the better one; `none` is for what only explains the others. */
  readonly better: "higher" | "lower" | "none";
  readonly digits: number;
}

/** What the scenarios can be made to do from the command line. */
export interface ScenarioSizes {
  readonly streams: readonly number[];
  /** Tokens of each answer. */
  readonly tokens: number;
  readonly prefillTokens: number;
  readonly longPromptTokens: number;
}

/** Context sizes are multiples of 256 in llama.cpp. */
export function contextFor(tokens: number): number {
  return Math.max(512, Math.ceil(tokens / 256) * 256);
}
