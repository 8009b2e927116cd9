import type { ConnectionState } from "llamapod/client";
import { notAuthenticated } from "./api-key.ts";
import { byId, setText } from "./dom.ts";

/** Short breaks are repaired before anyone could read about them. */
const patienceMs = 800;

/** The line that says whether the server is there. */
export class ConnectionStatus {
  readonly #element = byId("connection", HTMLElement);
  readonly #text = byId("connection-text", HTMLElement);
  readonly #again = byId("reconnect", HTMLButtonElement);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #latest: ConnectionState = { kind: "idle" };

  constructor(reconnect: () => void) {
    this.#again.addEventListener("click", reconnect);
  }

  show(state: ConnectionState): void {
    this.#latest = state;
    if (state.kind === "open" || state.kind === "refused") this.#draw();
    else this.#timer ??= setTimeout(() => this.#draw(), patienceMs);
  }

  #draw(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const state = this.#latest;
    this.#element.dataset["state"] = state.kind === "open" || state.kind === "refused" ? state.kind : "broken";
    setText(this.#text, describe(state));
    const focused = document.activeElement === this.#again;
    const isKeyMissing = state.kind === "refused" && state.code === notAuthenticated;
    this.#again.hidden = state.kind === "open" || state.kind === "connecting" || isKeyMissing;
    if (focused && this.#again.hidden) byId("question", HTMLTextAreaElement).focus();
  }
}

function describe(state: ConnectionState): string {
  switch (state.kind) {
    case "open":
      return "Connected";
    case "refused":
      if (state.code === notAuthenticated) return "This server asks for an API key.";
      return `The server closed the connection: ${state.reason === "" ? `code ${state.code}` : state.reason}.`;
    case "connecting":
      return "Connecting…";
    case "waiting":
    case "idle":
      return "No connection to the server. Trying again; nothing is lost.";
  }
}
