import type { LlamapodError } from "../protocol/errors.ts";
import type { Operation } from "./operations.ts";

/**
 * Which model answers when a request names none, and what the operator wants loaded: switches, and loads that change no
 * active model. They are carried out one after the other, each as a transaction: nothing is different until the model has
 * answered, and one that fails, or is called off, leaves no trace. Pure: what is to be done about it are moves.
 */
export interface Intent {
  readonly activeModel: string | undefined;
  /** The first one is carried out now. */
  readonly wishes: readonly Wish[];
}

export type Wish = Operation<"switch" | "load">;

export type IntentEvent =
  | { readonly type: "opened"; readonly modelId: string | undefined }
  | { readonly type: "wished"; readonly wish: Wish }
  | { readonly type: "called-off"; readonly wish: Operation }
  /** It is loaded and answers. */
  | { readonly type: "ready"; readonly modelId: string }
  | { readonly type: "failed"; readonly modelId: string; readonly error: LlamapodError }
  /** Its file is gone. */
  | { readonly type: "removed"; readonly modelId: string }
  | { readonly type: "closed"; readonly error: LlamapodError };

export type Move =
  | { readonly type: "activated"; readonly from: string | undefined; readonly to: string | undefined }
  /** Requests that name no model, and have not been started, are for another one now. */
  | { readonly type: "unnamed-moved"; readonly from: string; readonly to: string }
  | { readonly type: "done" | "called-off"; readonly wish: Operation }
  | { readonly type: "failed"; readonly wish: Operation; readonly error: LlamapodError };

export interface Change {
  readonly intent: Intent;
  readonly moves: readonly Move[];
}

export const noIntent: Intent = { activeModel: undefined, wishes: [] };

export function after(intent: Intent, event: IntentEvent): Change {
  const { activeModel, wishes } = intent;
  const [current, ...others] = wishes;
  switch (event.type) {
    case "opened":
      return activated(intent, event.modelId, []);
    case "wished":
      return { intent: { ...intent, wishes: [...wishes, event.wish] }, moves: [] };
    case "called-off": {
      const { wish } = event;
      const left = { ...intent, wishes: wishes.filter((other) => other !== wish) };
      return { intent: left, moves: [{ type: "called-off", wish }, ...back(wish, activeModel)] };
    }
    case "ready": {
      if (current?.modelId !== event.modelId) return { intent, moves: [] };
      const done: Move = { type: "done", wish: current };
      const left = { ...intent, wishes: others };
      return current.kind === "switch" ? activated(left, event.modelId, [done]) : { intent: left, moves: [done] };
    }
    case "failed": {
      if (current?.modelId !== event.modelId) return { intent, moves: [] };
      const failed: Move = { type: "failed", wish: current, error: event.error };
      return { intent: { ...intent, wishes: others }, moves: [failed, ...back(current, activeModel)] };
    }
    case "removed":
      return event.modelId === activeModel ? activated(intent, undefined, []) : { intent, moves: [] };
    case "closed": {
      const moves = wishes.map((wish): Move => ({ type: "failed", wish, error: event.error }));
      return { intent: { ...intent, wishes: [] }, moves };
    }
  }
}

/** The same that is wanted last already: who asks for it again joins. */
export function joinable({ wishes }: Intent, kind: "switch" | "load", modelId: string): Wish | undefined {
  const last = wishes.at(-1);
  return last?.kind === kind && last.modelId === modelId ? last : undefined;
}

function activated(intent: Intent, to: string | undefined, moves: readonly Move[]): Change {
  const from = intent.activeModel;
  const moved: readonly Move[] =
    from === undefined || to === undefined || from === to ? [] : [{ type: "unnamed-moved", from, to }];
  return { intent: { ...intent, activeModel: to }, moves: [{ type: "activated", from, to }, ...moved, ...moves] };
}

/** What followed a switch that came to nothing goes back to the active model. */
function back({ kind, modelId }: Operation, activeModel: string | undefined): readonly Move[] {
  if (kind !== "switch" || activeModel === undefined || activeModel === modelId) return [];
  return [{ type: "unnamed-moved", from: modelId, to: activeModel }];
}
