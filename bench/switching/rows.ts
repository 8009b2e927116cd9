export interface Row {
  readonly what: string;
  readonly ours: number;
  readonly theirs: number;
}

export function renderRows(rows: readonly Row[]): string {
  const lines = rows.map(
    ({ what, ours, theirs }) => `| ${what} | ${show(ours)} | ${show(theirs)} | ${(ours / theirs).toFixed(2)} |`,
  );
  return ["| | llamapod | llama-server's router | ratio |", "|---|---:|---:|---:|", ...lines, ""].join("\n");
}

function show(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: 0 });
}
