import { add, fits, subtract } from "./memory/memory.ts";
import type { PlanView, RunnerView } from "./plan-view.ts";
import { soonMs } from "./returns.ts";
import { demandedModels, earlierModels, endsOfLeads } from "./turns.ts";
import type { Memory } from "../protocol/runner.ts";

export type Decision =
  | { readonly type: "estimate"; readonly modelId: string }
  | { readonly type: "start"; readonly modelId: string }
  | { readonly type: "refuse"; readonly modelId: string; readonly missing: Memory }
  /** A load for which only models at work could make room. */
  | { readonly type: "decline"; readonly modelId: string }
  /** `sleep`: stops because nobody needs it, and not to make room. */
  | { readonly type: "close" | "reopen" | "stop" | "sleep"; readonly modelId: string }
  | { readonly type: "dispatch"; readonly job: string; readonly modelId: string };

export interface Plan {
  readonly decisions: readonly Decision[];
  /** When to ask again although nothing has happened. */
  readonly wakeAt: number;
}

/**
 * Decides, from what waits and what is loaded, what to do next. Pure: the pool carries it out, and asks again after
 * everything that happens, and at `wakeAt`.
 *
 * A model that is asked for is started beside the others while memory and `maxResident` allow. Otherwise others make room:
 * those without work at once, the least recently used first, unless the next work is on its way; those with work after a
 * minimum residency, so that models that do not fit together take turns that are worth their loading. It is the turn of
 * the model that has waited longest since it was last served, so that each waits for one turn of every other at most. Who
 * makes room takes no new work, may finish what runs for a while, and is then stopped: what still ran goes on when its
 * model is back.
 */
export function plan(view: PlanView): Plan {
  const room = roomForTheNext(view);
  const sleepy = idleTooLong(view);
  const stops = [...abandoned(view), ...room.stop];
  const leaving = new Set([...sleepy, ...stops]);
  const decisions: Decision[] = [
    ...sleepy.map((modelId) => ({ type: "sleep" as const, modelId })),
    ...stops.filter((modelId) => !sleepy.includes(modelId)).map((modelId) => ({ type: "stop" as const, modelId })),
    ...closings(view, room.close, leaving),
    ...room.decisions,
    ...dispatches(view, new Set([...leaving, ...room.close])),
  ];
  return { decisions, wakeAt: Math.min(room.wakeAt, ...idleDeadlines(view)) };
}

/** What would have to happen for a model to be loaded now, whoever has work. */
export type Forecast =
  | { readonly outcome: "resident" }
  | { readonly outcome: "beside" }
  | { readonly outcome: "evicts"; readonly victims: readonly string[] }
  | { readonly outcome: "short"; readonly missing: Memory };

export function forecast(view: PlanView, modelId: string, memory: Memory): Forecast {
  const leaving = view.runners.filter(({ phase }) => phase === "leaving");
  if (isResident(view, modelId) && !leaving.some((runner) => runner.modelId === modelId)) return { outcome: "resident" };
  const missing = missingFor(view, memory);
  if (missing !== undefined) return { outcome: "short", missing };
  if (hasRoom(view, leaving, memory)) return { outcome: "beside" };
  const asSwitch = { ...view, request: { kind: "switch" as const, modelId } };
  const ready = candidates(asSwitch, modelId);
  // What loads is made to leave when it has loaded, and only where the others are not enough.
  const loading = view.runners.filter(({ phase, isPinned }) => phase === "loading" && !isPinned);
  const all = [...ready, ...loading].sort(byCostOfLeaving(view));
  const victims = enough(view, leaving, ready, memory) ?? enough(view, leaving, all, memory) ?? [];
  return { outcome: "evicts", victims: victims.map((victim) => victim.modelId) };
}

interface Room {
  readonly decisions: readonly Decision[];
  /** Who makes room. */
  readonly close: ReadonlySet<string>;
  /** Of those, who has nothing to do any more, or no more time for it. */
  readonly stop: readonly string[];
  readonly wakeAt: number;
}

interface Candidate {
  readonly modelId: string;
  readonly memory: Memory;
  /** Who can make room for it, now or later; undefined where that is not known yet. */
  readonly victims: readonly RunnerView[] | undefined;
}

/** Starts what there is room for, and makes room for the first that there is none for. */
function roomForTheNext(view: PlanView): Room {
  const decisions: Decision[] = [];
  const started: RunnerView[] = [];
  const demanded = demandedModels(view);
  const awaited = awaitedOf(view);
  let next: Candidate | undefined;
  for (const modelId of new Set([...demanded, ...view.kept])) {
    if (isResident(view, modelId) || view.estimating.has(modelId) || view.resting.has(modelId)) continue;
    const memory = view.estimates.get(modelId);
    if (memory === undefined) {
      decisions.push({ type: "estimate", modelId });
      continue;
    }
    const missing = missingFor(view, memory);
    const full = { ...view, runners: [...view.runners, ...started] };
    if (!demanded.has(modelId) && !leavesRoomForAwaited(full, awaited, modelId, memory)) continue;
    if (hasRoom(full, [], memory) && leavesRoom(full, starting(modelId, memory), next)) {
      decisions.push({ type: "start", modelId });
      started.push(starting(modelId, memory));
    } else if (missing !== undefined) {
      decisions.push({ type: "refuse", modelId, missing });
    } else if (demanded.has(modelId)) {
      next ??= { modelId, memory, victims: victimsOf(full, modelId, memory) };
    }
  }
  const room = next === undefined ? nobody : makeRoom(view, started, next);
  return { ...room, decisions: [...decisions, ...room.decisions] };
}

/** Those that may go now, or else those that can be expected to go some time. */
function victimsOf(view: PlanView, modelId: string, memory: Memory): readonly RunnerView[] | undefined {
  const leaving = leavingOf(view);
  const evictable = view.runners.filter(({ phase, isPinned }) => phase !== "leaving" && !isPinned);
  return enough(view, leaving, candidates(view, modelId), memory) ?? enough(view, leaving, evictable, memory);
}

const nobody: Room = { decisions: [], close: new Set(), stop: [], wakeAt: Infinity };

interface Awaited {
  readonly modelId: string;
  /** Undefined where that is not known yet. */
  readonly memory: Memory | undefined;
}

/** Of what is kept, what would be started if it could be already, in order. */
function awaitedOf(view: PlanView): Awaited[] {
  return view.kept
    .map((modelId) => ({ modelId, memory: view.estimates.get(modelId) }))
    .filter(({ modelId }) => !isResident(view, modelId))
    .filter(({ modelId, memory }) => (memory === undefined ? !view.resting.has(modelId) : view.resting.has(modelId)));
}

/** Whether a kept model would not take the room of one before it. */
function leavesRoomForAwaited(view: PlanView, awaited: readonly Awaited[], modelId: string, memory: Memory): boolean {
  const before = view.kept.slice(0, view.kept.indexOf(modelId));
  let full = view;
  for (const earlier of awaited.filter((candidate) => before.includes(candidate.modelId))) {
    if (earlier.memory === undefined) return false;
    if (hasRoom(full, [], earlier.memory))
      full = { ...full, runners: [...full.runners, starting(earlier.modelId, earlier.memory)] };
  }
  return hasRoom(full, [], memory);
}

/** Whether a model that fits now would not take the room of one that is to have it. */
function leavesRoom(view: PlanView, newcomer: RunnerView, next: Candidate | undefined): boolean {
  if (next === undefined) return true;
  const full = { ...view, runners: [...view.runners, newcomer] };
  return next.victims !== undefined && hasRoom(full, [...leavingOf(view), ...next.victims], next.memory);
}

function makeRoom(view: PlanView, started: readonly RunnerView[], { modelId, memory }: Candidate): Room {
  const full = { ...view, runners: [...view.runners, ...started] };
  const leaving = leavingOf(view);
  // What is on its way out may be all it takes.
  if (hasRoom(full, leaving, memory)) return nobody;
  const able = candidates(view, modelId);
  const isSwitch = view.request?.kind === "switch" && view.request.modelId === modelId;
  // A load that nobody waits for asks those without work only.
  const isOperators = isSwitch || isOnlyLoad(view, modelId);
  const mayGoAt = (runner: RunnerView) => (isOperators ? 0 : endOfResidency(view, runner));
  const ready = able.filter((runner) => mayGoAt(runner) <= view.now);
  const victims = enough(full, leaving, ready, memory);
  if (victims === undefined) {
    const isSettled = full.runners.every(({ phase }) => phase === "ready");
    if (isOnlyLoad(view, modelId) && isSettled) return { ...nobody, decisions: [{ type: "decline", modelId }] };
    const times = [...able.map(mayGoAt), ...endsOfLeads(view, modelId)];
    return { ...nobody, wakeAt: Math.min(Infinity, ...times.filter((time) => time > view.now)) };
  }
  const close = new Set(victims.map((victim) => victim.modelId));
  const deadlines = victims.map(({ runningJobs, isReading, readUntil, closedAt = view.now }) => {
    if (runningJobs === 0) return 0;
    if (isSwitch) return closedAt + view.limits.parkAfterMs;
    // What has been read would have to be read again: it is worth some answering.
    return isReading ? Infinity : Math.max(closedAt, readUntil) + view.limits.parkAfterMs;
  });
  const wakeAt = Math.max(...deadlines);
  // Together: a switch that is called off until then has cost nobody anything.
  return wakeAt <= view.now ? { ...nobody, close, stop: [...close] } : { ...nobody, close, wakeAt };
}

/** Who may be made to leave for a model, those whose leaving costs least first. */
function candidates(view: PlanView, modelId: string): RunnerView[] {
  const earlier = earlierModels(view, modelId);
  return view.runners
    .filter((runner) => runner.phase === "ready" && !runner.isPinned && !earlier.has(runner.modelId))
    .filter((runner) => !isOnlyLoad(view, modelId) || !isBusy(view, runner))
    .sort(byCostOfLeaving(view));
}

/** Whether a model is wanted by the operator, who does not want to disturb for it, and by nobody else. */
function isOnlyLoad({ request, waiting }: PlanView, modelId: string): boolean {
  const isLoad = request?.kind === "load" && request.modelId === modelId;
  return isLoad && !waiting.some((job) => job.modelId === modelId);
}

function leavingOf({ runners }: PlanView): RunnerView[] {
  return runners.filter(({ phase }) => phase === "leaving");
}

function closings(view: PlanView, close: ReadonlySet<string>, leaving: ReadonlySet<string>): Decision[] {
  return view.runners.flatMap(({ modelId, phase, closedAt }): Decision[] => {
    if (phase !== "ready" || leaving.has(modelId) || close.has(modelId) === (closedAt !== undefined)) return [];
    return [{ type: close.has(modelId) ? "close" : "reopen", modelId }];
  });
}

function dispatches(view: PlanView, closed: ReadonlySet<string>): Decision[] {
  const open = view.runners.filter(
    (runner) => runner.phase === "ready" && !runner.isUnloading && !runner.isProving && !closed.has(runner.modelId),
  );
  const free = new Map(open.map(({ modelId, freeSlots }) => [modelId, freeSlots]));
  return view.waiting.flatMap(({ job, modelId, isSuspect }): Decision[] => {
    const slots = free.get(modelId) ?? 0;
    if (slots === 0) return [];
    // A suspect waits until those before it have proved well, and lets nobody pass.
    free.set(modelId, isSuspect ? 0 : slots - 1);
    return [{ type: "dispatch", job, modelId }];
  });
}

/** Loads that nobody waits for any more, or that are to end all the same. */
function abandoned(view: PlanView): string[] {
  const wanted = new Set([...demandedModels(view), ...view.kept]);
  return view.runners
    .filter(({ phase, modelId, isUnloading }) => phase === "loading" && (isUnloading || !wanted.has(modelId)))
    .map(({ modelId }) => modelId);
}

function idleTooLong(view: PlanView): string[] {
  // One that is to go does so before it takes up what waits: its model is loaded again for that.
  const unloading = view.runners.filter((runner) => runner.phase === "ready" && runner.isUnloading && runner.runningJobs === 0);
  const overdue = idle(view).filter((runner) => !runner.isUnloading && idleDeadline(view, runner) <= view.now);
  return [...unloading, ...overdue].map(({ modelId }) => modelId);
}

function idleDeadlines(view: PlanView): number[] {
  return idle(view).map((runner) => idleDeadline(view, runner));
}

function idleDeadline(view: PlanView, { isPinned, idleSince }: RunnerView): number {
  return isPinned || view.limits.idleUnloadMs === 0 ? Infinity : idleSince + view.limits.idleUnloadMs;
}

function idle(view: PlanView): RunnerView[] {
  const asked = demandedModels(view);
  return view.runners.filter((runner) => runner.phase === "ready" && runner.runningJobs === 0 && !asked.has(runner.modelId));
}

function isResident(view: PlanView, modelId: string): boolean {
  return view.runners.some((runner) => runner.modelId === modelId);
}

function isBusy(view: PlanView, { modelId, runningJobs }: RunnerView): boolean {
  return runningJobs > 0 || view.waiting.some((waiting) => waiting.modelId === modelId);
}

/** From when on a model may be made to leave by one that is only waited for. */
function endOfResidency(view: PlanView, runner: RunnerView): number {
  if (runner.closedAt !== undefined) return 0;
  const end = runner.readyAt + Math.max(view.limits.minResidencyMs, runner.loadMs);
  if (isBusy(view, runner)) return end;
  if (!runner.hasWorked) return runner.readyAt + view.limits.minResidencyMs;
  return runner.isSoonAskedAgain ? Math.min(end, runner.idleSince + soonMs) : 0;
}

/** Those without work first, the least recently used of them first; of those with work those that make room already. */
function byCostOfLeaving(view: PlanView): (a: RunnerView, b: RunnerView) => number {
  const isOpen = ({ closedAt }: RunnerView) => Number(closedAt === undefined);
  return (a, b) =>
    Number(isBusy(view, a)) - Number(isBusy(view, b)) ||
    isOpen(a) - isOpen(b) ||
    a.runningJobs - b.runningJobs ||
    a.lastUsed - b.lastUsed;
}

/** As few of the candidates, taken in order, as have to go; undefined where all of them are not enough. */
function enough(
  view: PlanView,
  gone: readonly RunnerView[],
  candidates: readonly RunnerView[],
  memory: Memory,
): readonly RunnerView[] | undefined {
  let chosen: readonly RunnerView[] = [];
  for (const candidate of candidates) {
    if (hasRoom(view, [...gone, ...chosen], memory)) break;
    chosen = [...chosen, candidate];
  }
  if (!hasRoom(view, [...gone, ...chosen], memory)) return undefined;
  // A large one that came late can make the small ones before it unnecessary. Who makes room already is spared last: the
  // choice would change with every look otherwise.
  const openFirst = [...chosen].sort((a, b) => Number(a.closedAt !== undefined) - Number(b.closedAt !== undefined));
  for (const spared of openFirst) {
    const others = chosen.filter((runner) => runner !== spared);
    if (hasRoom(view, [...gone, ...others], memory)) chosen = others;
  }
  return chosen;
}

/** Whether a model fits beside those that are there, less those that are gone. */
function hasRoom({ runners, capacity, maxResident }: PlanView, gone: readonly RunnerView[], memory: Memory): boolean {
  const staying = runners.filter((runner) => !gone.some(({ modelId }) => modelId === runner.modelId));
  const taken = add(...staying.map((runner) => runner.memory));
  return staying.length < maxResident && fits(add(taken, memory), capacity);
}

/** What a model lacks even when everything has made room that can; undefined where it lacks nothing. */
function missingFor({ runners, capacity, maxResident }: PlanView, memory: Memory): Memory | undefined {
  const pinned = runners.filter(({ isPinned }) => isPinned);
  const taken = add(...pinned.map((runner) => runner.memory));
  if (pinned.length < maxResident && fits(add(taken, memory), capacity)) return undefined;
  return subtract(add(taken, memory), capacity);
}

function starting(modelId: string, memory: Memory): RunnerView {
  return {
    modelId,
    phase: "loading",
    memory,
    freeSlots: 0,
    runningJobs: 0,
    lastUsed: 0,
    readyAt: 0,
    loadMs: 0,
    idleSince: 0,
    hasWorked: false,
    isSoonAskedAgain: false,
    isReading: false,
    readUntil: 0,
    isProving: false,
    closedAt: undefined,
    isPinned: false,
    isUnloading: false,
  };
}
