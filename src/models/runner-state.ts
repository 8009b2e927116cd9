import type { ExitReason } from "../health/metrics/model-metrics.ts";
import type { LoadedModel, VideoMemory } from "../protocol/runner.ts";

/**
 * The life of a runner:
 *
 *     starting -> prepared -> loading -> warming -> ready -> draining -> stopped
 *                     ^                               |
 *                     '---------- unloading <---------'
 *
 * and from each of them, but the last, to `failed`.
 */
export type RunnerState =
  | { readonly name: "starting" }
  /** The backend is open, and there is no model yet. */
  | { readonly name: "prepared"; readonly backend: string; readonly videoMemory: VideoMemory }
  | { readonly name: "loading"; readonly progress: number }
  | { readonly name: "warming" }
  | { readonly name: "ready"; readonly model: LoadedModel }
  /** It gives its model up, to be `prepared` again. */
  | { readonly name: "unloading" }
  /** It ends. */
  | { readonly name: "draining" }
  | { readonly name: "stopped" }
  /** `refused`: the runner itself said that the model cannot be used; otherwise it died. */
  | { readonly name: "failed"; readonly cause: string; readonly refused: boolean; readonly exit: ExitReason };

const successors = {
  starting: ["prepared", "draining", "stopped", "failed"],
  prepared: ["loading", "draining", "stopped", "failed"],
  loading: ["loading", "warming", "draining", "stopped", "failed"],
  warming: ["ready", "draining", "stopped", "failed"],
  ready: ["unloading", "draining", "failed"],
  unloading: ["prepared", "draining", "stopped", "failed"],
  draining: ["stopped", "failed"],
  stopped: [],
  failed: [],
} as const satisfies Record<RunnerState["name"], readonly RunnerState["name"][]>;

/** @returns the next state, or undefined where the lifecycle does not allow it */
export function transition(from: RunnerState, to: RunnerState): RunnerState | undefined {
  const allowed: readonly string[] = successors[from.name];
  return allowed.includes(to.name) ? to : undefined;
}

/** Whether it had a model and is about to have none. */
export function isLeaving({ name }: RunnerState): boolean {
  return name === "unloading" || name === "draining";
}

export function hasEnded(state: RunnerState): boolean {
  return successors[state.name].length === 0;
}
