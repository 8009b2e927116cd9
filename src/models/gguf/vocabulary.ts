import type { GgufHeader } from "./header.ts";
import type { GgufValue } from "./reader.ts";

const stringType = 8;
const signedType = 5;
const unsignedType = 4;
const floatType = 6;

const prefix = "tokenizer.ggml.";

/** Arrays with an entry for each token. llama.cpp reads as many as there are tokens, however long they are. */
const perToken: Readonly<Record<string, readonly number[]>> = {
  scores: [floatType],
  token_type: [signedType, unsignedType],
};

/** Tokenizers that llama.cpp aborts over in architectures other than theirs. */
const ownTokenizers: Readonly<Record<string, RegExp>> = { bert: /bert/, rwkv: /rwkv/ };

/**
 * Whether llama.cpp can read the vocabulary without dying of it.
 *
 * @returns what is wrong, if anything
 */
export function vocabularyFault(architecture: string, metadata: GgufHeader["metadata"]): string | undefined {
  const of = (name: string): GgufValue | undefined => metadata.get(`${prefix}${name}`);
  const tokenizer = of("model");
  if (typeof tokenizer === "string" && ownTokenizers[tokenizer]?.test(architecture) === false) {
    return `its tokenizer is that of ${tokenizer}, and its architecture is ${architecture}`;
  }
  const tokens = of("tokens");
  if (tokens === undefined) return undefined;
  if (typeof tokens !== "object" || tokens.elementType !== stringType || tokens.length === 0) {
    return `its ${prefix}tokens is no list of texts, or an empty one`;
  }
  for (const [name, types] of Object.entries(perToken)) {
    const list = of(name);
    if (list === undefined) continue;
    if (typeof list !== "object" || !types.includes(list.elementType) || list.length !== tokens.length) {
      return `its ${prefix}${name} does not have a number for each of its ${tokens.length} tokens`;
    }
  }
  const merges = of("merges");
  if (merges !== undefined && (typeof merges !== "object" || merges.elementType !== stringType)) {
    return `its ${prefix}merges is no list of texts`;
  }
  return undefined;
}
