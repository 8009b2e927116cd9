import { median, sum } from "../client/statistics.ts";
import type { RoundResult } from "../rounds.ts";
import type { Metric, Scenario } from "../scenarios/scenario.ts";
import { serverNames, type ServerName } from "../servers/server.ts";

/** One metric of one scenario over all rounds. NaN where a server did not run or has no such figure. */
export interface MetricSummary {
  readonly metric: Metric;
  readonly medians: Readonly<Record<ServerName, number>>;
  /** llamapod's median over llama-server's, and the least and most that a single round's two figures gave. */
  readonly ratio: { readonly ofMedians: number; readonly least: number; readonly most: number };
}

export interface ScenarioSummary {
  readonly name: string;
  readonly title: string;
  readonly slots: number;
  readonly contextSize: number;
  readonly metrics: readonly MetricSummary[];
  /** The busiest the client was in any round. */
  readonly clientCpuShare: number;
  readonly foreignCpuShare: number;
  readonly discardedRuns: number;
}

export function summarize(scenario: Scenario, results: readonly RoundResult[]): ScenarioSummary {
  const { name, title, slots, contextSize, metrics } = scenario;
  return {
    name,
    title,
    slots,
    contextSize,
    metrics: metrics.map((metric) => summarizeMetric(metric, results)),
    clientCpuShare: Math.max(...results.map(({ measurement }) => measurement.clientCpuShare)),
    foreignCpuShare: Math.max(...results.map(({ measurement }) => measurement.foreignCpuShare)),
    discardedRuns: sum(results.map(({ discarded }) => discarded)),
  };
}

function summarizeMetric(metric: Metric, results: readonly RoundResult[]): MetricSummary {
  const valuesOf = (server: ServerName): number[] =>
    results
      .filter((result) => result.server === server)
      .toSorted((a, b) => a.round - b.round)
      .map((result) => result.metrics[metric.key] ?? Number.NaN);
  const [ours, peers] = serverNames.map(valuesOf);
  if (ours === undefined || peers === undefined) throw new Error("the comparison is of two servers");
  const medians = { llamapod: median(ours), "llama-server": median(peers) };
  const ratios = ours.map((value, index) => value / (peers[index] ?? Number.NaN));
  return {
    metric,
    medians,
    ratio: {
      ofMedians: medians.llamapod / medians["llama-server"],
      least: ratios.length === 0 ? Number.NaN : Math.min(...ratios),
      most: ratios.length === 0 ? Number.NaN : Math.max(...ratios),
    },
  };
}
