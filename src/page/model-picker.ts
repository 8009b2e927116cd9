import type { Chat } from "./chat.ts";
import { byId, element, setText } from "./dom.ts";
import { describeState, isLoading, type Model } from "./models.ts";

/** Which model answers next, and what state it is in. */
export class ModelPicker {
  readonly #chat: Chat;
  readonly #select = byId("model", HTMLSelectElement);
  readonly #state = byId("model-state", HTMLElement);
  readonly #progress = byId("model-progress", HTMLProgressElement);
  readonly #welcome = byId("welcome-model", HTMLElement);
  readonly #demoNotice = byId("demo-notice", HTMLElement);

  constructor(chat: Chat) {
    this.#chat = chat;
    this.#select.addEventListener("change", () => chat.choose(this.#select.value));
  }

  show(): void {
    const { models, model } = this.#chat;
    this.#showOptions(models, model);
    this.#select.value = model?.id ?? "";
    this.#select.title = model?.id ?? "";
    const loading = model !== undefined && isLoading(model);
    this.#state.dataset["state"] = model === undefined ? "none" : loading ? "loading" : model.state;
    setText(this.#state, model === undefined ? "" : describeState(model));
    this.#state.title = model?.reason ?? "";
    this.#progress.hidden = !loading;
    if (model?.progress === undefined) this.#progress.removeAttribute("value");
    else this.#progress.value = model.progress;
    setText(this.#welcome, model?.id ?? "");
    this.#demoNotice.hidden = model?.isBuiltIn !== true;
  }

  #showOptions(models: readonly Model[], selected: Model | undefined): void {
    const options = [...this.#select.options];
    // An open list would close if its options were replaced.
    if (options.length !== models.length || models.some(({ id }, index) => options[index]?.value !== id)) {
      const none = element("option", { value: "", text: "No model" });
      this.#select.replaceChildren(...(models.length === 0 ? [none] : models.map(({ id }) => element("option", { value: id }))));
    }
    models.forEach((model, index) => {
      const option = this.#select.options[index];
      if (option === undefined) return;
      const isEvident = model.state === "ready" || model === selected;
      setText(option, isEvident ? model.id : `${model.id} (${describeState(model)})`);
      option.disabled = model.state === "invalid";
    });
  }
}
