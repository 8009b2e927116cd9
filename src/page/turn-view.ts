import { copyButton } from "./code-block.ts";
import type { AnswerTurn, Statistics, UserTurn } from "./conversation.ts";
import { element, iconButton, setText } from "./dom.ts";
import { GrowingMarkdown } from "./growing-markdown.ts";

export function userTurnView({ text }: UserTurn): HTMLElement {
  const heading = element("h2", { class: "visually-hidden", text: "You" });
  return element("article", { class: "question" }, heading, element("p", { text }));
}

export interface AnswerActions {
  /** Asks again; only the last answer offers it. */
  regenerate(): void;
}

/** One answer: its text, what became of it, and how fast it was. */
export class AnswerView {
  readonly #markdown = new GrowingMarkdown();
  readonly #activity = element("p", { class: "activity", hidden: true });
  readonly #failure = element("p", { class: "failure", hidden: true });
  readonly #statistics = element("span", { class: "statistics" });
  readonly #heading = element("h2", { class: "visually-hidden", text: "Answer" });
  readonly #copy: HTMLButtonElement;
  readonly #again: HTMLButtonElement;
  readonly element: HTMLElement;
  #text = "";

  constructor(actions: AnswerActions) {
    this.#copy = copyButton("Copy answer", () => this.#text);
    this.#again = iconButton("again", "Regenerate", () => actions.regenerate());
    const foot = element("footer", {}, this.#statistics, element("span", { class: "actions" }, this.#copy, this.#again));
    this.element = element(
      "article",
      { class: "answer" },
      this.#heading,
      this.#markdown.element,
      this.#activity,
      this.#failure,
      foot,
    );
  }

  /** `activity` says what is being waited for while there is nothing to read. */
  show(answer: AnswerTurn, activity: string | undefined): void {
    const { text, outcome, statistics, model } = answer;
    const running = outcome === "running";
    if (!running) this.#markdown.finish(text);
    else if (text !== this.#text) this.#markdown.grow(text);
    this.#text = text;
    this.element.setAttribute("aria-busy", String(running));
    setText(this.#heading, model === undefined ? "Answer" : `Answer of ${model}`);
    this.#activity.hidden = activity === undefined;
    setText(this.#activity, activity ?? "");
    this.#showFailure(answer);
    setText(this.#statistics, describeStatistics(outcome, model, statistics));
    this.#copy.hidden = running || text === "";
    this.#again.hidden = running;
  }

  /** An earlier answer is not asked for again. */
  retire(): void {
    this.#again.remove();
  }

  #showFailure({ outcome, failure }: AnswerTurn): void {
    this.#failure.hidden = failure === undefined;
    if (failure === undefined || outcome !== "failed") return;
    setText(this.#failure, describeFailure(failure));
    setText(this.#again.lastElementChild ?? this.#again, failure.retryable ? "Retry" : "Regenerate");
  }
}

function describeFailure({ code, message }: NonNullable<AnswerTurn["failure"]>): string {
  if (code !== "resume_expired" && code !== "generation_not_found") return message;
  return "The rest of this answer is gone: the server no longer has it. It can be generated again.";
}

export function describeStatistics(outcome: AnswerTurn["outcome"], model?: string, statistics?: Statistics): string {
  const parts: string[] = [];
  if (model !== undefined) parts.push(model);
  if (outcome === "stopped") parts.push("stopped");
  if (outcome === "length") parts.push("length limit reached");
  if (statistics !== undefined) {
    const { tokens, tokensPerSecond, ttftMs, interruptions = 0 } = statistics;
    parts.push(tokens === 1 ? "1 token" : `${tokens} tokens`);
    if (tokensPerSecond !== undefined && tokensPerSecond > 0) parts.push(`${tokensPerSecond.toFixed(1)} tokens/s`);
    if (ttftMs !== undefined) parts.push(`first token ${describeDuration(ttftMs)}`);
    if (interruptions > 0) parts.push(`recovered ${interruptions === 1 ? "once" : `${interruptions} times`}`);
  }
  return parts.map((part) => part.replaceAll(" ", "\u00a0")).join(" · ");
}

function describeDuration(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`;
}
