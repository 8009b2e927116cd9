import type { ConnectionState } from "llamapod/client";
import { byId } from "./dom.ts";

const storageKey = "llamapod.apiKey";

/** What the server closes a connection with, or refuses one with, that does not say who it is. */
export const notAuthenticated = 4401;

/** Asks for the key where the server wants one. It is kept for as long as the tab is open, and for this server only. */
export class ApiKeyForm {
  readonly #storage: Storage;
  readonly #form = byId("api-key-form", HTMLFormElement);
  readonly #input = byId("api-key", HTMLInputElement);

  constructor(storage: Storage, connect: () => void) {
    this.#storage = storage;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const key = this.#input.value.trim();
      if (key === "") return;
      storage.setItem(storageKey, key);
      this.#input.value = "";
      connect();
    });
  }

  get key(): string | undefined {
    return this.#storage.getItem(storageKey) ?? undefined;
  }

  show(state: ConnectionState): void {
    const isAsked = state.kind === "refused" && state.code === notAuthenticated;
    if (isAsked) this.#storage.removeItem(storageKey);
    if (isAsked && this.#form.hidden) {
      this.#form.hidden = false;
      this.#input.focus();
    }
    if (state.kind === "open") this.#form.hidden = true;
  }
}
