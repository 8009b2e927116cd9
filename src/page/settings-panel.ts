import { byId } from "./dom.ts";
import { loadSettings, samplingNames, saveSettings, type SamplingSettings, type Settings } from "./settings.ts";

/** The form of the settings. What is valid is in force, and saved, as it is typed. */
export class SettingsPanel {
  readonly #storage: Storage;
  readonly #form = byId("settings-form", HTMLFormElement);
  readonly #systemPrompt = byId("system-prompt", HTMLTextAreaElement);
  readonly #numbers = samplingNames.map((name) => ({ name, input: byId(name, HTMLInputElement) }));
  #settings: Settings;

  constructor(storage: Storage) {
    this.#storage = storage;
    this.#settings = loadSettings(storage);
    this.#fill();
    this.#form.addEventListener("submit", (event) => event.preventDefault());
    this.#form.addEventListener("input", () => this.#read());
    byId("reset-settings", HTMLButtonElement).addEventListener("click", () => {
      this.#form.reset();
      this.#read();
    });
  }

  get settings(): Settings {
    return this.#settings;
  }

  #fill(): void {
    this.#systemPrompt.value = this.#settings.systemPrompt;
    for (const { name, input } of this.#numbers) input.value = this.#settings[name]?.toString() ?? "";
  }

  #read(): void {
    const sampling = this.#numbers.flatMap(({ name, input }) => {
      const valid = input.checkValidity();
      input.setAttribute("aria-invalid", String(!valid));
      return valid && input.value !== "" ? [[name, input.valueAsNumber] as const] : [];
    });
    this.#settings = { systemPrompt: this.#systemPrompt.value, ...(Object.fromEntries(sampling) as SamplingSettings) };
    saveSettings(this.#storage, this.#settings);
  }
}
