import { read, write } from "./saved.ts";

/** What is not set is left to the server and the model. */
export interface Settings {
  readonly systemPrompt: string;
  readonly temperature?: number;
  readonly top_p?: number;
  readonly max_tokens?: number;
  readonly seed?: number;
}

export type SamplingSettings = Omit<Settings, "systemPrompt">;

export const samplingNames = ["temperature", "top_p", "max_tokens", "seed"] as const satisfies (keyof SamplingSettings)[];

const key = "llamapod.settings";

export function loadSettings(storage: Storage): Settings {
  const saved = read(storage, key);
  if (typeof saved !== "object" || saved === null) return { systemPrompt: "" };
  const fields = saved as Readonly<Record<string, unknown>>;
  const sampling = samplingNames.flatMap((name) => (Number.isFinite(fields[name]) ? [[name, fields[name] as number]] : []));
  const systemPrompt = typeof fields["systemPrompt"] === "string" ? fields["systemPrompt"] : "";
  return { systemPrompt, ...(Object.fromEntries(sampling) as SamplingSettings) };
}

export function saveSettings(storage: Storage, settings: Settings): void {
  write(storage, key, settings);
}
