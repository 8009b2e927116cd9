import { LlamapodError } from "../protocol/errors.ts";
import type { Memory } from "../protocol/runner.ts";
import type { ModelState } from "../protocol/stream.ts";
import type { CatalogueEntry } from "./catalogue.ts";
import type { RunnerState } from "./runner-state.ts";

/** A model as clients see it. */
export interface ModelStatus {
  readonly id: string;
  readonly aliases: readonly string[];
  readonly state: ModelState;
  readonly progress: number | undefined;
  readonly reason: string | undefined;
  readonly active: boolean;
  readonly sizeBytes: number;
  readonly isBuiltIn: boolean;
  /** What it takes or would take, where that is known. */
  readonly memory: Memory | undefined;
  /** What computes, once it is loaded: cpu, cuda, vulkan, metal. */
  readonly backend?: string;
}

/** What the pool knows of a model beside the catalogue's entry. */
export interface ModelSituation {
  readonly isActive: boolean;
  readonly memory: Memory | undefined;
  /** Of its runner, where it has one. */
  readonly runner: RunnerState | undefined;
  /** It is found out whether it fits, or room is made for it, and it is loaded next. */
  readonly isAwaited: boolean;
  /** Models that make room. */
  readonly waitsFor: readonly string[];
  /** Why it could not be loaded the last time. */
  readonly failure: LlamapodError | undefined;
}

export function describeModel({ id, aliases, header, isBuiltIn }: CatalogueEntry, situation: ModelSituation): ModelStatus {
  const { isActive: active, memory, runner, isAwaited, waitsFor, failure } = situation;
  const sizeBytes = header instanceof LlamapodError ? 0 : header.fileBytes;
  const common = { id, aliases, active, sizeBytes, isBuiltIn, memory, progress: undefined, reason: undefined };
  if (header instanceof LlamapodError) return { ...common, state: "invalid", reason: header.message };
  if (runner?.name === "ready") return { ...common, state: "ready", backend: runner.model.backend };
  if (runner?.name === "loading") return { ...common, state: "loading", progress: runner.progress };
  if (runner !== undefined) return { ...common, state: publicState(runner) };
  if (failure !== undefined && !isAwaited) return { ...common, state: "failed", reason: failure.message };
  if (!isAwaited) return { ...common, state: "available" };
  const reason = waitsFor.length === 0 ? undefined : `waits for ${waitsFor.join(" and ")} to make room`;
  return { ...common, state: "starting", reason };
}

/** A runner that has opened the backend is nothing that a client has to know of. */
export function publicState({ name }: RunnerState): ModelState {
  if (name === "unloading") return "draining";
  return name === "prepared" ? "starting" : name;
}
