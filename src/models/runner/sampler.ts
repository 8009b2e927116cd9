import type { Sampling } from "../../protocol/request.ts";
import type { NativeSampler, NativeSamplerConfig } from "./bindings.ts";

/** How many of the latest tokens the penalties look at, as in llama.cpp's own tools. */
const penaltyWindow = 64;

/**
 * Chooses the tokens of one generation. Made anew for each: a native sampler keeps its random state for as long as the
 * seed stays the same, so one that is used again would not repeat a seed's text.
 */
export class Sampler {
  readonly native: NativeSampler;
  readonly #config: NativeSamplerConfig;
  readonly #penalizes: boolean;

  constructor(native: NativeSampler, sampling: Sampling) {
    const { temperature, topP, topK, minP, seed, repeatPenalty, presencePenalty, frequencyPenalty } = sampling;
    this.native = native;
    this.#penalizes = repeatPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0;
    this.#config = { temperature, topP, topK, minP, seed };
    if (this.#penalizes) {
      this.#config = {
        ...this.#config,
        repeatPenalty,
        repeatPenaltyMaxTokens: penaltyWindow,
        repeatPenaltyPresencePenalty: presencePenalty,
        repeatPenaltyFrequencyPenalty: frequencyPenalty,
      };
    }
    native.applyConfig(this.#config);
  }

  /** Tells the penalties, if any, what stands before the next token. Costs the same at every length. */
  observe(sequence: Uint32Array): void {
    if (this.#penalizes) this.native.applyConfig({ ...this.#config, repeatPenaltyTokens: sequence.slice(-penaltyWindow) });
  }

  dispose(): void {
    this.native.dispose();
  }
}
