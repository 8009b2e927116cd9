import type { Chat } from "./chat.ts";
import type { AnswerTurn } from "./conversation.ts";
import { byId, setText } from "./dom.ts";
import { FollowScroll } from "./follow-scroll.ts";
import { describeState, isLoading } from "./models.ts";
import { AnswerView, userTurnView } from "./turn-view.ts";

/** A whole answer is read aloud up to this length; beyond it, that it is there. */
const readAloudCharacters = 600;

/** Readers see no difference beyond this rate, and a model on the same machine needs the processor more. */
const drawEveryMs = 33;

/** The turns on the page. Answers are drawn at most once in so long, in a frame, however fast tokens come. */
export class ChatView {
  readonly #chat: Chat;
  readonly #list = byId("turns", HTMLElement);
  readonly #welcome = byId("welcome", HTMLElement);
  readonly #live = byId("live", HTMLElement);
  readonly #scroll = new FollowScroll(byId("scroller", HTMLElement), this.#list, byId("to-end", HTMLButtonElement));
  #last: AnswerView | undefined;
  #drawIsDue = false;
  #drawnAtMs = 0;

  constructor(chat: Chat) {
    this.#chat = chat;
  }

  turnsChanged(): void {
    const views = this.#chat.turns.map((turn) => {
      if (turn.role === "user") return userTurnView(turn);
      this.#last?.retire();
      this.#last = new AnswerView({ regenerate: () => this.#chat.regenerate() });
      this.#last.show(turn, this.#activity(turn));
      return this.#last.element;
    });
    this.#list.replaceChildren(...views);
    this.#welcome.hidden = views.length > 0;
    this.#scroll.toEnd();
  }

  answerChanged(answer: AnswerTurn): void {
    this.refresh();
    if (answer.outcome === "running") return;
    this.announce(spoken(answer));
  }

  /** What is waited for has changed, not the answer. */
  refresh(): void {
    if (this.#drawIsDue) return;
    this.#drawIsDue = true;
    const waitMs = Math.max(0, this.#drawnAtMs + drawEveryMs - performance.now());
    setTimeout(() => requestAnimationFrame(() => this.#draw()), waitMs);
  }

  announce(text: string): void {
    setText(this.#live, text);
  }

  #draw(): void {
    this.#drawIsDue = false;
    this.#drawnAtMs = performance.now();
    const turn = this.#chat.turns.at(-1);
    if (turn?.role === "assistant") this.#last?.show(turn, this.#activity(turn));
  }

  #activity({ text, outcome }: AnswerTurn): string | undefined {
    const running = this.#chat.running;
    if (outcome !== "running" || text !== "" || running === undefined) return undefined;
    switch (running.phase.kind) {
      case "sending":
        return "Sending…";
      case "queued":
        return this.#queued(running.phase.position, running.phase.reason);
      default:
        return "Reading the prompt…";
    }
  }

  #queued(position: number, reason: "slot" | "loading" | "memory"): string {
    const model = this.#chat.model;
    if (reason === "loading") {
      return model !== undefined && isLoading(model) ? `The model is ${describeState(model)}…` : "The model is being loaded…";
    }
    const cause = reason === "memory" ? "Waiting for memory" : "Waiting for a free slot";
    return `${cause}, position ${position} in the queue…`;
  }
}

function spoken({ outcome, text, failure }: AnswerTurn): string {
  if (outcome === "failed") return `The answer failed. ${failure?.message ?? ""}`;
  if (outcome === "stopped") return "The answer was stopped.";
  return text.length <= readAloudCharacters ? text : `The answer is complete: ${text.split(/\s+/).length} words.`;
}
