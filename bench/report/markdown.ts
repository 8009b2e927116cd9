import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { describeAgreement, type Agreement } from "./agreement.ts";
import type { Environment } from "./environment.ts";
import { formatNumber, percent } from "./format.ts";
import type { ScenarioSummary } from "./summary.ts";
import { renderTable } from "./table.ts";

export interface Report {
  readonly environment: Environment;
  readonly summaries: readonly ScenarioSummary[];
  readonly agreement: Agreement;
  readonly warnings: readonly string[];
}

/** Replaces the section of that name between its marks in a file, or adds it at the end. The rest is left alone. */
export function updateMarkdown(file: string, section: string, report: Report): void {
  const start = `<!-- bench ${section}: made by npm run bench -->`;
  const end = `<!-- bench ${section}: end -->`;
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  const block = `${start}\n\n${renderReport(report)}\n\n${end}`;
  const from = text.indexOf(start);
  const to = text.indexOf(end, from);
  const updated =
    from === -1 || to === -1
      ? `${text.trimEnd()}\n\n${block}\n`.trimStart()
      : text.slice(0, from) + block + text.slice(to + end.length);
  writeFileSync(file, updated);
}

function renderReport({ environment, summaries, agreement, warnings }: Report): string {
  const { cpu, cores, memoryBytes, gpu, system, date, node, servers, engine, model, threads, rounds, commandLine } = environment;
  const versions = Object.entries(servers).map(([name, version]) => `${name} ${version}`);
  const facts = [
    `Machine: ${cpu}, ${cores} cores, ${(memoryBytes / 2 ** 30).toFixed(0)} GiB, GPU ${gpu}, ${system}`,
    `Date: ${date}`,
    `Versions: ${[...versions, `Node.js ${node}`, `node-llama-cpp with ${engine}`].join("; ")}`,
    `Model: ${model.file}, ${(model.bytes / 2 ** 20).toFixed(0)} MiB${model.note && `, ${model.note}`}`,
    `Threads: ${threads}; rounds: ${rounds}; load average before: ${environment.loadBefore.toFixed(2)}`,
    `Command: \`${commandLine}\``,
  ];
  return [
    facts.map((fact) => `- ${fact}`).join("\n"),
    ...summaries.map(renderScenario),
    ...(agreement.answers === 0 ? [] : [describeAgreement(agreement)]),
    ...(warnings.length === 0 ? [] : [`To be read with care:\n\n${warnings.map((warning) => `- ${warning}`).join("\n")}`]),
  ].join("\n\n");
}

function renderScenario(summary: ScenarioSummary): string {
  const { title, slots, contextSize, clientCpuShare, foreignCpuShare, discardedRuns } = summary;
  const note =
    `${slots} ${slots === 1 ? "slot" : "slots"} of ${formatNumber(contextSize, 0)} tokens. ` +
    `Client: at most ${percent(clientCpuShare)} of a core; others: at most ${percent(foreignCpuShare)} of the machine` +
    (discardedRuns === 0 ? "." : `; disturbed runs that were made again: ${discardedRuns}.`);
  return `#### ${title}\n\n${note}\n\n${renderTable(summary)}`;
}
