import type {
  EstimateCommand,
  HeartbeatEvent,
  LoadCommand,
  Memory,
  RunnerCommand,
  SlotStatistics,
  StepEvent,
  VideoMemory,
} from "../protocol/runner.ts";
import type { RunnerState } from "./runner-state.ts";

/** What the pool knows of a runner. `RunnerProcess` is a real one. */
export interface Runner {
  readonly state: RunnerState;
  readonly pid: number | undefined;
  readonly statistics: SlotStatistics;
  /** Resolves when the process is gone. */
  readonly exited: Promise<void>;
  load(modelId: string, command: LoadCommand, user: RunnerUser): void;
  estimate(command: EstimateCommand): Promise<Memory>;
  send(command: RunnerCommand): void;
  stop(graceMs: number): Promise<void>;
  unload(graceMs: number): Promise<void>;
  kill(): void;
}

/** Who is told what a runner does. */
export interface RunnerUser {
  stateChanged(runner: Runner): void;
  stepped(runner: Runner, step: StepEvent): void;
  beat(runner: Runner, heartbeat: HeartbeatEvent): void;
  sawVideoMemory(runner: Runner, seen: VideoMemory): void;
}

/** Starts a runner. @throws {Error} where the machine cannot start a process */
export type StartRunner = (user: RunnerUser) => Runner;
