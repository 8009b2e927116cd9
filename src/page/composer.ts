import { byId } from "./dom.ts";

export interface ComposerActions {
  send(text: string): void;
  stop(): void;
}

/** Where questions are written: Enter sends, Shift+Enter breaks the line, Escape stops the answer. */
export class Composer {
  readonly #form = byId("composer", HTMLFormElement);
  readonly #text = byId("question", HTMLTextAreaElement);
  readonly #send = byId("send", HTMLButtonElement);
  readonly #stop = byId("stop", HTMLButtonElement);
  readonly #actions: ComposerActions;
  #running = false;

  constructor(actions: ComposerActions) {
    this.#actions = actions;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("keydown", (event) => {
      // While an input method composes, Enter accepts its suggestion.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("input", () => this.#adjust());
    this.#stop.addEventListener("click", () => actions.stop());
    document.addEventListener("keydown", (event) => {
      // An open popover has the first right to Escape.
      if (event.key !== "Escape" || event.isComposing || !this.#running || document.querySelector(":popover-open")) return;
      actions.stop();
    });
    this.#adjust();
  }

  focus(): void {
    this.#text.focus();
  }

  setRunning(running: boolean): void {
    if (running === this.#running) return;
    const focusWasHere = this.#form.contains(document.activeElement);
    this.#running = running;
    this.#send.hidden = running;
    this.#stop.hidden = !running;
    if (focusWasHere) this.focus();
  }

  #submit(): void {
    const text = this.#text.value.trim();
    if (text === "" || this.#running) return;
    this.#text.value = "";
    this.#adjust();
    this.#actions.send(text);
  }

  #adjust(): void {
    this.#send.disabled = this.#text.value.trim() === "";
    if (CSS.supports("field-sizing", "content")) return;
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }
}
