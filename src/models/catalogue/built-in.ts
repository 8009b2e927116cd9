import { modelDefinitions } from "./definition.ts";

/**
 * The models that llamapod knows without being told. Sizes and digests are those that the repositories publish; where one is
 * missing, it is recorded when the model is pulled for the first time. Sampling is what the authors recommend.
 */
export const builtInDefinitions = modelDefinitions.parse({
  "smollm2-135m": {
    title: "SmolLM2 135M Instruct",
    aliases: ["smollm2-135m-instruct"],
    source:
      "hf://bartowski/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct-Q4_K_M.gguf@09816acd5d99df7be770d85ea30822623dab342c",
    file: "SmolLM2-135M-Instruct-Q4_K_M.gguf",
    sizeBytes: 105_454_432,
    sha256: "2e8040ceae7815abe0dcb3540b9995eaa1fa0d2ca9e797d0a635ae4433c68c2d",
    licence: { name: "Apache-2.0" },
    contextSize: 8_192,
    sampling: { temperature: 0.2, topP: 0.9 },
  },
  "qwen2.5-0.5b": {
    title: "Qwen 2.5 0.5B Instruct",
    aliases: ["qwen2.5-0.5b-instruct"],
    source: "hf://Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_k_m.gguf@9217f5db79a29953eb74d5343926648285ec7e67",
    file: "qwen2.5-0.5b-instruct-q4_k_m.gguf",
    sizeBytes: 491_400_032,
    sha256: "74a4da8c9fdbcd15bd1f6d01d621410d31c6fc00986f5eb687824e7b93d7a9db",
    licence: { name: "Apache-2.0" },
    contextSize: 32_768,
    sampling: { temperature: 0.7, topP: 0.8, topK: 20, repeatPenalty: 1.1 },
  },
  "qwen2.5-3b": {
    title: "Qwen 2.5 3B Instruct",
    aliases: ["qwen2.5-3b-instruct"],
    source: "hf://Qwen/Qwen2.5-3B-Instruct-GGUF/qwen2.5-3b-instruct-q4_k_m.gguf@7dabda4d13d513e3e842b20f0d435c732f172cbe",
    file: "qwen2.5-3b-instruct-q4_k_m.gguf",
    sizeBytes: 2_104_932_768,
    sha256: "626b4a6678b86442240e33df819e00132d3ba7dddfe1cdc4fbb18e0a9615c62d",
    licence: {
      name: "Qwen Research (not for commercial use)",
      url: "https://huggingface.co/Qwen/Qwen2.5-3B-Instruct/blob/main/LICENSE",
    },
    contextSize: 32_768,
    sampling: { temperature: 0.7, topP: 0.8, topK: 20, repeatPenalty: 1.05 },
  },
  "qwen2.5-7b": {
    title: "Qwen 2.5 7B Instruct",
    aliases: ["qwen2.5-7b-instruct"],
    // The authors' own repository has it in two parts; this one is a single file.
    source: "hf://bartowski/Qwen2.5-7B-Instruct-GGUF/Qwen2.5-7B-Instruct-Q4_K_M.gguf@8911e8a47f92bac19d6f5c64a2e2095bd2f7d031",
    file: "Qwen2.5-7B-Instruct-Q4_K_M.gguf",
    sizeBytes: 4_683_074_240,
    sha256: "65b8fcd92af6b4fefa935c625d1ac27ea29dcb6ee14589c55a8f115ceaaa1423",
    licence: { name: "Apache-2.0" },
    contextSize: 32_768,
    sampling: { temperature: 0.7, topP: 0.8, topK: 20, repeatPenalty: 1.05 },
  },
  "llama3-8b": {
    title: "Llama 3 8B Instruct",
    aliases: ["llama-3-8b", "llama3-8b-instruct", "llama-3-8b-instruct", "meta-llama-3-8b-instruct"],
    source: "hf://bartowski/Meta-Llama-3-8B-Instruct-GGUF/Meta-Llama-3-8B-Instruct-Q4_K_M.gguf",
    file: "Meta-Llama-3-8B-Instruct-Q4_K_M.gguf",
    sizeBytes: 4_920_734_272,
    sha256: "8ba9baf3a7345f705a11878397500fb25174034f0fd784e83aa4a96aaa47735f",
    licence: { name: "Llama 3 Community", url: "https://huggingface.co/meta-llama/Meta-Llama-3-8B-Instruct" },
    contextSize: 8_192,
    sampling: { temperature: 0.6, topP: 0.9 },
  },
  "gemma2-9b": {
    title: "Gemma 2 9B it",
    aliases: ["gemma-2-9b", "gemma2-9b-it", "gemma-2-9b-it"],
    source: "hf://bartowski/gemma-2-9b-it-GGUF/gemma-2-9b-it-Q4_K_M.gguf@d731033f3dc4018261fd39896e50984d398b4ac5",
    file: "gemma-2-9b-it-Q4_K_M.gguf",
    sizeBytes: 5_761_057_728,
    sha256: "13b2a7b4115bbd0900162edcebe476da1ba1fc24e718e8b40d32f6e300f56dfe",
    licence: { name: "Gemma Terms of Use", url: "https://huggingface.co/google/gemma-2-9b-it" },
    contextSize: 8_192,
    sampling: { temperature: 1, topP: 0.95, topK: 64 },
  },
  "gpt-sw3-6.7b": {
    title: "GPT-SW3 6.7B v2 Instruct",
    aliases: ["gpt-sw3-6.7b-v2", "gpt-sw3-6.7b-v2-instruct"],
    source: "hf://AI-Sweden-Models/gpt-sw3-6.7b-v2-instruct-gguf/gpt-sw3-6.7b-v2-instruct-Q4_K_M.gguf",
    file: "gpt-sw3-6.7b-v2-instruct-Q4_K_M.gguf",
    licence: {
      name: "AI Sweden's LLM licence",
      url: "https://huggingface.co/AI-Sweden-Models/gpt-sw3-6.7b-v2-instruct/blob/main/LICENSE",
    },
    contextSize: 2_048,
    // Files of this family were made before converters kept the template.
    chatTemplate: "gpt-sw3",
    stop: ["User:"],
    sampling: { temperature: 0.6, topP: 1, topK: 0 },
  },
});
