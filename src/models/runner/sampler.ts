import type { Sampling } from "../../protocol/request.ts";
import type { NativeGrammarState, NativeSampler, NativeSamplerConfig } from "./bindings.ts";

/** How many of the latest tokens the penalties look at, as in llama.cpp's own tools. */
const penaltyWindow = 64;

/** Above it llama.cpp has a number that stands for chance. */
const greatestSeed = 0xffff_fffe;

/** What keeps the choice to the texts of a grammar. */
export interface Constraint {
  readonly state: NativeGrammarState;
  /** Control tokens, which have no text in the answer, but one that the grammar would take for a part of it. */
  readonly excluded: Uint32Array;
}

/**
 * Chooses the tokens of one generation. Made anew for each: a native sampler keeps its random state for as long as the
 * seed stays the same, so one that is used again would not repeat a seed's text.
 */
export class Sampler {
  readonly native: NativeSampler;
  /** Whether a grammar decides what an answer may be, and when it is complete. */
  readonly isConstrained: boolean;
  readonly #config: NativeSamplerConfig;
  readonly #penalizes: boolean;

  constructor(native: NativeSampler, sampling: Sampling, constraint?: Constraint) {
    const { temperature, topP, topK, minP, seed, repeatPenalty, presencePenalty, frequencyPenalty } = sampling;
    this.native = native;
    this.isConstrained = constraint !== undefined;
    this.#penalizes = repeatPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0;
    this.#config = { temperature, topP, topK, minP, seed: Math.min(seed, greatestSeed) };
    if (this.#penalizes) {
      this.#config = {
        ...this.#config,
        repeatPenalty,
        repeatPenaltyMaxTokens: penaltyWindow,
        repeatPenaltyPresencePenalty: presencePenalty,
        repeatPenaltyFrequencyPenalty: frequencyPenalty,
      };
    }
    if (constraint !== undefined) {
      const { state, excluded } = constraint;
      this.#config = {
        ...this.#config,
        grammarEvaluationState: state,
        ...(excluded.length > 0 && {
          tokenBiasKeys: excluded,
          tokenBiasValues: new Float32Array(excluded.length).fill(-Infinity),
        }),
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
