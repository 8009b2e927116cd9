import type { Memory } from "../protocol/runner.ts";
import type { Intent } from "./active-model.ts";
import type { Keeping } from "./keeping.ts";
import type { Loads } from "./loads.ts";
import type { PlanView } from "./plan-view.ts";
import type { Queue } from "./queue.ts";
import type { Residents } from "./residents.ts";

export interface ResidencySettings {
  readonly maxResident: number;
  readonly minResidencySeconds: number;
  readonly parkAfterSeconds: number;
  /** 0 is never. */
  readonly idleUnloadSeconds: number;
}

/** The pool as `plan` looks at it. */
export function poolView(
  { maxResident, minResidencySeconds, parkAfterSeconds, idleUnloadSeconds }: ResidencySettings,
  residents: Residents,
  queue: Queue,
  { activeModel, wishes: [wish] }: Intent,
  keeping: Keeping,
  loads: Loads,
  readCapacity: () => Memory,
): PlanView {
  const now = performance.now();
  return {
    now,
    waiting: queue.inOrder(residents.jobs, now).map(({ request: { id, priority }, modelId, since, isSuspect }) => {
      return { job: id, modelId, priority, since, isSuspect };
    }),
    runners: residents.all.map((resident) => {
      const { id } = resident.entry;
      return resident.view(keeping.isPinned(id), residents.returns.areSoon(id));
    }),
    // Most of the time nothing has to be loaded, and nobody asks.
    get capacity() {
      return readCapacity();
    },
    estimates: loads.known,
    maxResident,
    request: wish === undefined ? undefined : { kind: wish.kind, modelId: wish.modelId },
    lastServed: residents.lastServed,
    kept: keeping.models(activeModel).filter((modelId) => loads.isUsable(modelId)),
    estimating: loads.estimating,
    resting: new Set(loads.backoffs.resting),
    limits: {
      minResidencyMs: minResidencySeconds * 1_000,
      parkAfterMs: parkAfterSeconds * 1_000,
      idleUnloadMs: idleUnloadSeconds * 1_000,
    },
  };
}
