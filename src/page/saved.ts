import type { Generation } from "llamapod/client";
import type { Turn } from "./conversation.ts";

/**
 * What a reload must not lose. The storage of the session is the tab's own, so two tabs do not meet. Text and `seq` of a running
 * generation are one value: never one without the other.
 */
export interface SavedChat {
  load(): { turns: Turn[]; running: Generation | undefined; model: string | undefined };
  saveTurns(turns: readonly Turn[]): void;
  saveRunning(generation: Generation | undefined): void;
  saveModel(id: string): void;
}

const turnsKey = "llamapod.turns";
const runningKey = "llamapod.running";
const modelKey = "llamapod.model";

export function savedChat(storage: Storage): SavedChat {
  return {
    load() {
      const turns = (read(storage, turnsKey) ?? []) as Turn[];
      const running = read(storage, runningKey) as Generation | undefined;
      const model = read(storage, modelKey) as string | undefined;
      const last = turns.at(-1);
      if (last?.role !== "assistant" || last.outcome !== "running") return { turns, running: undefined, model };
      if (running?.id === last.id) return { turns, running, model };
      return { turns: [...turns.slice(0, -1), { ...last, outcome: "stopped" }], running: undefined, model };
    },
    saveTurns: (turns) => write(storage, turnsKey, turns),
    saveRunning(generation) {
      if (generation === undefined) storage.removeItem(runningKey);
      else write(storage, runningKey, generation);
    },
    saveModel: (id) => write(storage, modelKey, id),
  };
}

export function read(storage: Storage, key: string): unknown {
  try {
    return JSON.parse(storage.getItem(key) ?? "null") ?? undefined;
  } catch {
    return undefined;
  }
}

export function write(storage: Storage, key: string, value: unknown): void {
  try {
    storage.setItem(key, JSON.stringify(value));
  } catch (error) {
    // A full storage costs what a reload would have kept, not the chat.
    console.warn(`Could not save ${key}.`, error);
  }
}
