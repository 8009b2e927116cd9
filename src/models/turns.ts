import type { PlanView, WaitingView } from "./plan-view.ts";
import { ageingMs } from "./queue.ts";

/** A model that waits for, or is at, its turn. */
interface Asked {
  readonly modelId: string;
  /** Since when it has waited, less its lead: the smallest is next. */
  readonly turn: number;
  /** Of its most urgent job, in milliseconds. */
  readonly leadMs: number;
  readonly isAtWork: boolean;
}

/** By the operator, and then by what waits, in the order of their turns. */
export function demandedModels(view: PlanView): Set<string> {
  const models = askedModels(view).map(({ modelId }) => modelId);
  if (view.request === undefined) return new Set(models);
  const { kind, modelId } = view.request;
  // A load that others wait for, too, has their turn.
  return new Set(kind === "load" && models.includes(modelId) ? models : [modelId, ...models]);
}

/** Models that are to be served before the given one. */
export function earlierModels(view: PlanView, modelId: string): Set<string> {
  const demanded = [...demandedModels(view)];
  return new Set(demanded.slice(0, demanded.indexOf(modelId)));
}

/**
 * When it becomes the turn of a model that waits, before each of those that are before it now because of their lead only.
 * The turn of a model at work moves on with the time, and nothing else may happen until it has passed.
 */
export function endsOfLeads(view: PlanView, modelId: string): number[] {
  const asked = askedModels(view);
  const own = asked.findIndex((model) => model.modelId === modelId);
  return asked
    .slice(0, Math.max(0, own))
    .filter(({ isAtWork }) => isAtWork)
    .map(({ leadMs }) => (asked[own]?.turn ?? 0) + leadMs + pastMs);
}

/** Until then two turns may be equal. */
const pastMs = 1;

function askedModels(view: PlanView): Asked[] {
  const asked = new Map<string, WaitingView[]>();
  for (const job of view.waiting) asked.set(job.modelId, [...(asked.get(job.modelId) ?? []), job]);
  return [...asked].map(([modelId, jobs]) => askedModel(view, modelId, jobs)).sort((a, b) => a.turn - b.turn);
}

function askedModel(view: PlanView, modelId: string, jobs: readonly WaitingView[]): Asked {
  const isAtWork = view.runners.some(
    (runner) => runner.modelId === modelId && runner.phase === "ready" && runner.runningJobs > 0,
  );
  const served = isAtWork ? view.now : (view.lastServed.get(modelId) ?? 0);
  const since = Math.min(...jobs.map((job) => job.since));
  const leadMs = Math.max(...jobs.map(({ priority }) => priority)) * ageingMs;
  return { modelId, turn: Math.max(served, since) - leadMs, leadMs, isAtWork };
}
