import {
  hasEnded,
  newGeneration,
  StreamClient,
  type ConnectionState,
  type Generation,
  type StreamSurroundings,
} from "llamapod/client";
import { answerOf, toMessages, type AnswerTurn, type Turn } from "./conversation.ts";
import { modelsOf, selectedModel, withChange, type Model } from "./models.ts";
import type { SavedChat } from "./saved.ts";
import type { Settings } from "./settings.ts";

export interface ChatParts {
  readonly surroundings: StreamSurroundings;
  readonly saved: SavedChat;
  readonly newId: () => string;
  readonly settings: () => Settings;
}

export interface ChatEvents {
  /** The turns are others than before. */
  turnsChanged(): void;
  /** The last answer grew or ended. */
  answerChanged(answer: AnswerTurn): void;
  connectionChanged(state: ConnectionState): void;
  modelsChanged(): void;
  /** The server found fault with something that is no generation. */
  refused(message: string): void;
}

/** How long a crash of the browser may set the saved text back; a reload loses nothing either way. */
const saveWithinMs = 250;

/** One conversation with the server: what was said, what is being answered, and who answers. Knows nothing of the DOM. */
export class Chat {
  readonly #parts: ChatParts;
  readonly #events: ChatEvents;
  readonly #client: StreamClient;
  #turns: Turn[] = [];
  #models: Model[] = [];
  #chosen: string | undefined;
  #running: Generation | undefined;
  #sentAtMs: number | undefined;
  #ttftMs: number | undefined;
  #cancelSave: (() => void) | undefined;

  constructor(parts: ChatParts, events: ChatEvents) {
    this.#parts = parts;
    this.#events = events;
    this.#client = new StreamClient(parts.surroundings, {
      connection: (state) => events.connectionChanged(state),
      hello: (message) => this.#greeted(modelsOf(message)),
      model: (message) => this.#setModels(withChange(this.#models, message)),
      generation: (generation) => this.#generationChanged(generation),
      error: ({ message }) => events.refused(message),
    });
  }

  get turns(): readonly Turn[] {
    return this.#turns;
  }

  get models(): readonly Model[] {
    return this.#models;
  }

  get model(): Model | undefined {
    return selectedModel(this.#models, this.#chosen);
  }

  get running(): Generation | undefined {
    return this.#running;
  }

  /** Shows what this tab had before a reload, and goes on with what was being answered. */
  start(): void {
    const { turns, running, model } = this.#parts.saved.load();
    this.#turns = turns;
    this.#running = running;
    this.#chosen = model;
    if (running !== undefined) this.#turns[turns.length - 1] = this.#answerOf(running);
    this.#events.turnsChanged();
    if (running === undefined) this.#client.connect();
    else this.#client.continue(running);
  }

  send(text: string): void {
    this.#turns.push({ role: "user", text });
    this.#ask();
  }

  /** Asks for another answer to the last question. */
  regenerate(): void {
    if (this.#running !== undefined) return;
    if (this.#turns.at(-1)?.role === "assistant") this.#turns.pop();
    if (this.#turns.length > 0) this.#ask();
  }

  stop(): void {
    if (this.#running !== undefined) this.#client.cancel(this.#running.id);
  }

  clear(): void {
    this.stop();
    this.#running = undefined;
    this.#turns = [];
    this.saveNow();
    this.#events.turnsChanged();
  }

  choose(model: string): void {
    this.#chosen = model;
    this.#parts.saved.saveModel(model);
    this.#events.modelsChanged();
  }

  connect(): void {
    this.#client.connect();
  }

  probe(): void {
    this.#client.probe();
  }

  saveNow(): void {
    this.#cancelSave?.();
    this.#cancelSave = undefined;
    this.#parts.saved.saveRunning(this.#running);
    if (this.#running === undefined) this.#parts.saved.saveTurns(this.#turns);
  }

  #ask(): void {
    const { systemPrompt, ...sampling } = this.#parts.settings();
    const request = {
      type: "generate" as const,
      id: this.#parts.newId(),
      ...(this.#chosen === undefined ? {} : { model: this.#chosen }),
      messages: toMessages(this.#turns, systemPrompt),
      ...sampling,
    };
    this.#turns.push({ role: "assistant", id: request.id, text: "", outcome: "running", model: this.model?.id });
    this.#sentAtMs = this.#parts.surroundings.nowMs();
    this.#ttftMs = undefined;
    this.#running = newGeneration(request);
    this.#parts.saved.saveTurns(this.#turns);
    this.saveNow();
    this.#events.turnsChanged();
    this.#client.continue(this.#running);
  }

  #generationChanged(generation: Generation): void {
    if (generation.id !== this.#running?.id) return;
    if (generation.text !== "" && this.#sentAtMs !== undefined) {
      this.#ttftMs ??= this.#parts.surroundings.nowMs() - this.#sentAtMs;
    }
    const ended = hasEnded(generation);
    const answer = this.#answerOf(generation);
    this.#running = ended ? undefined : generation;
    this.#turns[this.#turns.length - 1] = answer;
    if (ended) {
      this.#sentAtMs = undefined;
      // In this order: whoever finds the running one gone must find its text in the turns.
      this.#parts.saved.saveTurns(this.#turns);
      this.saveNow();
    } else {
      this.#cancelSave ??= this.#parts.surroundings.after(saveWithinMs, () => this.saveNow());
    }
    this.#events.answerChanged(answer);
  }

  /** Until the server has said which model answers, it is the one that was selected. */
  #answerOf(generation: Generation): AnswerTurn {
    const last = this.#turns.at(-1);
    const model = generation.model ?? (last?.role === "assistant" ? last.model : undefined);
    return answerOf({ ...generation, ...(model !== undefined && { model }) }, this.#ttftMs);
  }

  /** A model that is no longer there is not asked any more. */
  #greeted(models: Model[]): void {
    if (!models.some(({ id }) => id === this.#chosen)) this.#chosen = undefined;
    this.#setModels(models);
  }

  #setModels(models: Model[]): void {
    this.#models = models;
    this.#events.modelsChanged();
  }
}
