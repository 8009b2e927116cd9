import { LlamapodError, toLlamapodError } from "../protocol/errors.ts";
import type { Memory } from "../protocol/runner.ts";
import { describeShortage } from "./memory/shortage.ts";
import { RunnerFailure } from "./runner-process.ts";

/** What clients are told when a model, or the whole pool, cannot serve them. */

export function draining(): LlamapodError {
  return new LlamapodError("draining", "The server is shutting down.", { retryAfterMs: 5_000 });
}

export function gone(modelId: string): LlamapodError {
  return new LlamapodError("model_not_found", `The model ${modelId} is gone.`, { param: "model" });
}

export function doesNotFit(modelId: string, missing: Memory): LlamapodError {
  const message = `The model ${modelId} does not fit: ${describeShortage(missing)}.`;
  return new LlamapodError("insufficient_memory", message, { param: "model" });
}

export function nobodyIdle(modelId: string): LlamapodError {
  const message = `The model ${modelId} does not fit beside the models that are at work. Switch to it, or try again when they are idle.`;
  return new LlamapodError("insufficient_memory", message, { param: "model" });
}

export function cannotBeLoaded(modelId: string, cause: string): LlamapodError {
  return new LlamapodError("model_load_failed", `The model ${modelId} cannot be loaded: ${cause}.`, { param: "model" });
}

export function notEstimated(modelId: string, thrown: unknown): LlamapodError {
  return thrown instanceof RunnerFailure ? cannotBeLoaded(modelId, thrown.message) : toLlamapodError(thrown);
}

export function crashed(modelId: string, cause: string): LlamapodError {
  const message = `The runner of ${modelId} died twice under this generation, which is held to be the reason (${cause}).`;
  return new LlamapodError("runner_crashed", message);
}
