import type { Memory } from "../protocol/runner.ts";

/** The pool as `plan` looks at it. */
export interface PlanView {
  /** In milliseconds, like every time here. */
  readonly now: number;
  /** Those of each model in the order in which they are to be served. */
  readonly waiting: readonly WaitingView[];
  readonly runners: readonly RunnerView[];
  /** What all models together may take. */
  readonly capacity: Memory;
  readonly estimates: ReadonlyMap<string, Memory>;
  readonly maxResident: number;
  /**
   * What the operator wants loaded, before anything that waits. Everything that is not pinned makes room for a switch, only
   * what has no work for a load.
   */
  readonly request: { readonly kind: "switch" | "load"; readonly modelId: string } | undefined;
  /** When a model was last worked with. */
  readonly lastServed: ReadonlyMap<string, number>;
  /** Loaded while there is room that nobody needs; none of them takes the room of one before it. */
  readonly kept: readonly string[];
  /** Models of which it is being found out what they take. */
  readonly estimating: ReadonlySet<string>;
  /** Models that must not be started now: they have just failed. */
  readonly resting: ReadonlySet<string>;
  readonly limits: ResidencyLimits;
}

export interface ResidencyLimits {
  /** How long a model with work stays, at least; one that took longer to load stays as long as that. */
  readonly minResidencyMs: number;
  /** How long what runs may go on in a model that makes room. */
  readonly parkAfterMs: number;
  /** How long a model without work stays; 0 is for ever. */
  readonly idleUnloadMs: number;
}

export interface WaitingView {
  readonly job: string;
  readonly modelId: string;
  readonly priority: number;
  /** Since it came, or was last worked on. */
  readonly since: number;
  /** A runner has died under it, and it has not shown yet that it was not the reason: it is taken up alone. */
  readonly isSuspect: boolean;
}

export interface RunnerView {
  readonly modelId: string;
  readonly phase: "loading" | "ready" | "leaving";
  readonly memory: Memory;
  readonly freeSlots: number;
  readonly runningJobs: number;
  /** The smallest has been without work for longest. */
  readonly lastUsed: number;
  readonly readyAt: number;
  /** How long it took until then. */
  readonly loadMs: number;
  /** Since when it has had nothing to do. */
  readonly idleSince: number;
  /** It has been given work since it was loaded. */
  readonly hasWorked: boolean;
  /** Who was answered last came back soon: see `Returns`. */
  readonly isSoonAskedAgain: boolean;
  /** A job that it was given has not got a token from it yet: to park it now would waste what has been read. */
  readonly isReading: boolean;
  /** When that was last so. */
  readonly readUntil: number;
  /** It works on a suspect: see `WaitingView`. */
  readonly isProving: boolean;
  /** Since when it has made room: it takes no new work. */
  readonly closedAt: number | undefined;
  readonly isPinned: boolean;
  /** The operator wants it gone as soon as it has nothing to do. */
  readonly isUnloading: boolean;
}
