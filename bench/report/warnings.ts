import type { Agreement } from "./agreement.ts";
import type { Environment } from "./environment.ts";
import { percent } from "./format.ts";
import type { ScenarioSummary } from "./summary.ts";

const clientLimit = 0.3;

interface Findings {
  readonly environment: Environment;
  readonly summaries: readonly ScenarioSummary[];
  readonly agreement: Agreement;
  readonly maxForeignShare: number;
}

/** Why the figures may not be worth much. */
export function findWarnings({ environment, summaries, agreement, maxForeignShare }: Findings): string[] {
  const warnings: string[] = [];
  const { servers, engine, rounds } = environment;
  if (rounds < 3) warnings.push(`Only ${rounds} round${rounds === 1 ? "" : "s"}: noise is not told from a difference.`);
  const commit = /\((\w+)\)/.exec(engine)?.[1];
  const peer = servers["llama-server"];
  if (peer !== undefined && commit !== undefined && !peer.includes(commit)) {
    warnings.push(`The peer is not the same llama.cpp: ${peer}, while node-llama-cpp has ${engine}.`);
  }
  for (const { name, clientCpuShare, foreignCpuShare } of summaries) {
    if (clientCpuShare > clientLimit) warnings.push(`${name}: the client used ${percent(clientCpuShare)} of a core.`);
    if (foreignCpuShare > maxForeignShare) {
      warnings.push(
        `${name}: up to ${percent(foreignCpuShare)} of the machine went to other processes or its hypervisor in a round.`,
      );
    }
  }
  for (const name of new Set(agreement.otherPromptTokens)) {
    warnings.push(`${name}: the servers count the prompt's tokens differently.`);
  }
  return warnings;
}
