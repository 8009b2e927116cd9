/**
 * Decides, from what waits and what is loaded, what to do next. Pure: the pool carries it out.
 *
 * Jobs are served in order of arrival. A model that is asked for and not resident is started where there is room; where
 * there is none, the resident model that waits longest without work makes room for the job that has waited longest, and
 * takes no new work until it has.
 */
export interface PlanView {
  /** In order of arrival. */
  readonly waiting: readonly { readonly job: string; readonly modelId: string }[];
  readonly runners: readonly RunnerView[];
  readonly maxResident: number;
  /** Kept loaded when nothing else needs the room. */
  readonly activeModel: string | undefined;
  /** Has been made active and is not loaded yet: makes room for itself as a waiting job would. */
  readonly switchingTo: string | undefined;
  /** Models that must not be started now: they have just failed. */
  readonly resting: ReadonlySet<string>;
}

export interface RunnerView {
  readonly modelId: string;
  readonly phase: "loading" | "ready" | "leaving";
  readonly freeSlots: number;
  readonly runningJobs: number;
  /** The smallest has been without work for longest. */
  readonly lastUsed: number;
}

export type Decision =
  | { readonly type: "dispatch"; readonly job: string; readonly modelId: string }
  | { readonly type: "start"; readonly modelId: string }
  | { readonly type: "stop"; readonly modelId: string };

export function plan(view: PlanView): Decision[] {
  const makesRoom = chooseWhoMakesRoom(view);
  if (makesRoom?.runningJobs === 0 && makesRoom.phase === "ready") return [{ type: "stop", modelId: makesRoom.modelId }];
  return [...dispatches(view, makesRoom?.modelId), ...starts(view)];
}

function dispatches(view: PlanView, closedModel: string | undefined): Decision[] {
  const free = new Map(
    view.runners
      .filter((runner) => runner.phase === "ready" && runner.modelId !== closedModel)
      .map((runner) => [runner.modelId, runner.freeSlots]),
  );
  return view.waiting.flatMap(({ job, modelId }): Decision[] => {
    const slots = free.get(modelId) ?? 0;
    if (slots === 0) return [];
    free.set(modelId, slots - 1);
    return [{ type: "dispatch", job, modelId }];
  });
}

function starts(view: PlanView): Decision[] {
  const room = view.maxResident - view.runners.length;
  return wantedModels(view)
    .slice(0, Math.max(0, room))
    .map((modelId) => ({ type: "start", modelId }));
}

/** Models that should be resident and are not, the most urgent first. */
function wantedModels(view: PlanView): string[] {
  const asked = demandedModels(view);
  const wanted = new Set(view.activeModel === undefined ? asked : [...asked, view.activeModel]);
  return [...wanted].filter((modelId) => !view.resting.has(modelId) && !isResident(view, modelId));
}

/** Of each job that waits, in order of arrival, and of the switch behind them. */
function demandedModels({ waiting, switchingTo }: PlanView): string[] {
  const asked = waiting.map(({ modelId }) => modelId);
  return switchingTo === undefined ? asked : [...asked, switchingTo];
}

function isResident(view: PlanView, modelId: string): boolean {
  return view.runners.some((runner) => runner.modelId === modelId);
}

/** The runner that has to go for the longest waiting demand, if its model has no room. */
function chooseWhoMakesRoom(view: PlanView): RunnerView | undefined {
  const demanded = demandedModels(view);
  const blocked = demanded.find((modelId) => !isResident(view, modelId) && !view.resting.has(modelId));
  if (blocked === undefined || view.runners.length < view.maxResident) return undefined;
  // One that is already on its way in or out will change the picture soon enough.
  if (view.runners.some((runner) => runner.phase !== "ready")) return undefined;
  const served = demanded.slice(0, demanded.indexOf(blocked));
  return view.runners
    .filter((runner) => !served.includes(runner.modelId))
    .sort((a, b) => a.runningJobs - b.runningJobs || a.lastUsed - b.lastUsed)[0];
}
