import type { z } from "zod";
import type { samplingFields, Sampling } from "../protocol/request.ts";

type SamplingFields = { readonly [Name in keyof typeof samplingFields]?: z.output<(typeof samplingFields)[Name]> };

/** The wire's names to ours; what the request leaves out stays out. */
export function samplingOf(fields: SamplingFields): Partial<Sampling> {
  const named = {
    temperature: fields.temperature,
    topP: fields.top_p,
    topK: fields.top_k,
    minP: fields.min_p,
    seed: fields.seed,
    repeatPenalty: fields.repeat_penalty,
    presencePenalty: fields.presence_penalty,
    frequencyPenalty: fields.frequency_penalty,
  };
  return Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined));
}
