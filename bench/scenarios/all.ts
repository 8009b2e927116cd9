import { chat } from "./chat.ts";
import { busy, decode } from "./decode.ts";
import { mixed } from "./mixed.ts";
import { prefill } from "./prefill.ts";
import type { Scenario, ScenarioSizes } from "./scenario.ts";

export const scenarioKinds = ["decode", "prefill", "mixed", "chat", "busy"] as const;
export type ScenarioKind = (typeof scenarioKinds)[number];

const busyStreams = [1, 4];

export function makeScenarios(kinds: readonly ScenarioKind[], sizes: ScenarioSizes): Scenario[] {
  const make: Record<ScenarioKind, () => Scenario[]> = {
    decode: () => sizes.streams.map((streams) => decode(streams, sizes.tokens)),
    prefill: () => [prefill(sizes.prefillTokens)],
    mixed: () => [mixed(sizes.longPromptTokens)],
    busy: () => busyStreams.map((streams) => busy(streams, sizes.tokens)),
    chat: () => [chat(Math.min(sizes.tokens, 64))],
  };
  return scenarioKinds.filter((kind) => kinds.includes(kind)).flatMap((kind) => make[kind]());
}
