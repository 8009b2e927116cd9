import { formatNumber } from "../report/format.ts";
import type { ShapeRow } from "./measure-shape.ts";
import type { SwitchRun } from "./switch-through-all.ts";

const columns: readonly (readonly [heading: string, cell: (row: ShapeRow) => string])[] = [
  ["", ({ title }) => title],
  ["on", ({ backend }) => backend],
  ["file", ({ fileBytes }) => mebibytes(fileBytes)],
  ["estimate", ({ estimatedBytes }) => mebibytes(estimatedBytes)],
  ["taken", (row) => mebibytes(takenBytes(row))],
  ["of it in the file", ({ readBytes }) => mebibytes(readBytes)],
  ["estimate ÷ taken", (row) => formatNumber(row.estimatedBytes / takenBytes(row), 2)],
  ["mapped in all", ({ mappedBytes }) => mebibytes(mappedBytes)],
  ["peak RSS", ({ peakBytes }) => mebibytes(peakBytes)],
  ["GPU, estimate", ({ estimatedVideoBytes }) => mebibytes(estimatedVideoBytes)],
  ["GPU, taken", ({ videoBytes }) => mebibytes(videoBytes)],
  ["load, s", ({ loadMs }) => formatNumber(loadMs / 1_000, 1)],
  ["prefill, tokens/s", (row) => formatNumber(row.prefillTokensPerSecond, 1)],
  ["decode, tokens/s", (row) => formatNumber(row.decodeTokensPerSecond, 1)],
];

/** Memory in MiB. */
export function renderShapes(rows: readonly ShapeRow[]): string {
  return renderTable(
    columns.map(([heading]) => heading),
    rows.map((row) => columns.map(([, cell]) => cell(row))),
  );
}

export function renderSwitches({ rows, receivedTokens, madeTokens, interruptions }: SwitchRun): string {
  const table = renderTable(
    ["switch to", "until it answers, s", "until the stream goes on, s", "tokens of the stream"],
    rows.map(({ to, switchMs, pauseMs, streamedTokens }) => [
      to,
      formatNumber(switchMs / 1_000, 1),
      formatNumber(pauseMs / 1_000, 1),
      formatNumber(streamedTokens, 0),
    ]),
  );
  return `${table}\n\nThe stream: ${madeTokens} tokens made, ${receivedTokens} received, parked ${interruptions} times, its digest right.`;
}

function renderTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const rule = headings.map((_, column) => (column === 0 ? "---" : "---:"));
  return [headings, rule, ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function takenBytes({ ownBytes, readBytes }: ShapeRow): number {
  return ownBytes + readBytes;
}

function mebibytes(bytes: number): string {
  return formatNumber(bytes / 2 ** 20, 0);
}
