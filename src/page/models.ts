import type { ModelState, ServerMessageOf } from "../protocol/stream.ts";

export interface Model {
  readonly id: string;
  readonly state: ModelState;
  readonly active: boolean;
  /** A demo that comes with llamapod. */
  readonly isBuiltIn: boolean;
  /** 0 to 1 while it is being loaded. */
  readonly progress?: number | undefined;
  /** Why it is in this state, where the server said so. */
  readonly reason?: string | undefined;
}

export function modelsOf(hello: ServerMessageOf<"hello">): Model[] {
  return hello.models.map(({ id, state, active, built_in = false }) => ({ id, state, active, isBuiltIn: built_in }));
}

export function withChange(models: readonly Model[], { id, state, active, progress, reason }: ServerMessageOf<"model">): Model[] {
  const isBuiltIn = models.find((model) => model.id === id)?.isBuiltIn ?? false;
  const changed: Model = { id, state, active, isBuiltIn, progress, reason };
  const others = models.map((model) => (active && model.id !== id ? { ...model, active: false } : model));
  const index = others.findIndex((model) => model.id === id);
  return index === -1 ? [...others, changed] : others.with(index, changed);
}

/** The model that the next question goes to. */
export function selectedModel(models: readonly Model[], chosen: string | undefined): Model | undefined {
  return models.find(({ id }) => id === chosen) ?? models.find(({ active }) => active);
}

export function isLoading({ state }: Model): boolean {
  return state === "starting" || state === "loading" || state === "warming";
}

export function describeState({ state, progress }: Model): string {
  switch (state) {
    case "starting":
    case "loading":
      return progress === undefined ? "loading" : `loading ${Math.round(progress * 100)} %`;
    case "warming":
      return "warming up";
    case "ready":
      return "ready";
    case "draining":
      return "finishing";
    case "failed":
      return "failed to load";
    case "invalid":
      return "cannot be used";
    case "available":
    case "stopped":
      return "not loaded";
  }
}
