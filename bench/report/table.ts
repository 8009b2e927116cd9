import type { Metric } from "../scenarios/scenario.ts";
import { formatNumber } from "./format.ts";
import type { ScenarioSummary } from "./summary.ts";

const headings = ["", "llamapod", "llama-server", "ratio", "of single rounds"];

const arrows: Record<Metric["better"], string> = { higher: " ↑", lower: " ↓", none: "" };

/** A scenario's figures as a Markdown table, its columns aligned for reading as text. */
export function renderTable({ metrics }: ScenarioSummary): string {
  const rows = metrics.map(({ metric, medians, ratio }) => [
    metric.label + arrows[metric.better],
    formatNumber(medians.llamapod, metric.digits),
    formatNumber(medians["llama-server"], metric.digits),
    metric.better === "none" ? "" : formatNumber(ratio.ofMedians, 2),
    metric.better === "none" || Number.isNaN(ratio.least)
      ? ""
      : `${formatNumber(ratio.least, 2)} to ${formatNumber(ratio.most, 2)}`,
  ]);
  const widths = headings.map((heading, column) => Math.max(4, heading.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => pad(cell, widths[column] ?? 0, column)).join(" | ")} |`;
  const rule = widths.map((width, column) => (column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [line(headings), `| ${rule.join(" | ")} |`, ...rows.map(line)].join("\n");
}

function pad(cell: string, width: number, column: number): string {
  return column === 0 ? cell.padEnd(width) : cell.padStart(width);
}
