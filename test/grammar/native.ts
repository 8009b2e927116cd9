import { getLlama } from "node-llama-cpp";

interface NativeGrammar {
  isTextCompatible(text: string): boolean;
}

type GrammarClass = new (text: string, options: { addonExports: unknown; rootRuleName: string }) => NativeGrammar;

const llama = await getLlama({ gpu: false, build: "never", progressLogs: false, logger: () => undefined });

/** llama.cpp's own parser of grammars, which says whether one accepts a text from its beginning to its end. */
export function nativeGrammar(text: string): (candidate: string) => boolean {
  const bindings = Reflect.get(llama, "_bindings") as { readonly AddonGrammar: GrammarClass };
  const grammar = new bindings.AddonGrammar(text, { addonExports: bindings, rootRuleName: "root" });
  return (candidate) => grammar.isTextCompatible(candidate);
}
