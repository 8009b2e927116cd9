import type { GgufHeader } from "./header.ts";

type Metadata = GgufHeader["metadata"];

/** Dimensions by the name of the tensor, as they stand in the file. */
export type TensorShapes = ReadonlyMap<string, readonly bigint[]>;

/** As many as llama.cpp has room for. */
const mostLayers = 512;

/** llama.cpp aborts over others. */
const ropeScalings: readonly unknown[] = [undefined, "none", "linear", "yarn", "longrope"];

/** What llama.cpp divides by, where it is one number for all layers. */
const counts = [
  "embedding_length",
  "attention.head_count",
  "attention.head_count_kv",
  "attention.key_length",
  "attention.value_length",
];

/** As many as llama.cpp has room for. */
const mostExperts = 512;

/** Architectures without attention give 0 heads. */
const withoutAttention = /mamba|rwkv/;

/** Plain transformers, for which the shapes of the tensors follow from a few numbers. */
const plainTransformers = ["llama", "qwen2", "gemma", "gemma2", "gpt2"];

/**
 * Whether the numbers of a model fit its tensors: llama.cpp holds that to be true, and aborts or hangs where it is not.
 *
 * @returns what is wrong, if anything
 */
export function hyperparameterFault(architecture: string, metadata: Metadata, shapes: TensorShapes): string | undefined {
  const number = (name: string) => {
    const value = metadata.get(`${architecture}.${name}`);
    return typeof value === "bigint" ? Number(value) : value;
  };
  const layers = number("block_count");
  if (layers !== undefined && !isCount(layers, mostLayers)) return `its block_count is not 1 to ${mostLayers}`;
  if (!ropeScalings.includes(number("rope.scaling.type"))) return "its rope.scaling.type is unknown";
  for (const name of counts) {
    const count = number(name);
    // Some architectures have a number for each layer.
    if (count === undefined || typeof count === "object" || isCount(count)) continue;
    if (!withoutAttention.test(architecture)) return `its ${name} is impossible`;
  }
  const experts = number("expert_count");
  const hasExperts = experts !== undefined && experts !== 0;
  if (hasExperts && !(isCount(experts, mostExperts) && isCount(number("expert_used_count"), experts))) {
    return "its expert_count or expert_used_count is impossible";
  }
  if (!plainTransformers.includes(architecture) || hasExperts) return undefined;

  const present = new Set([...shapes.keys()].flatMap((name) => /^blk\.(\d+)\./.exec(name)?.[1] ?? [])).size;
  if (layers !== present) return `its block_count is ${String(layers)}, and it has the tensors of ${present} layers`;
  const width = number("embedding_length");
  const heads = number("attention.head_count");
  const keyHeads = number("attention.head_count_kv") ?? heads;
  if (!isCount(width) || !isCount(heads) || !isCount(keyHeads) || heads % keyHeads !== 0) {
    return "its embedding_length, attention.head_count or attention.head_count_kv is impossible";
  }
  const keyLength = number("attention.key_length") ?? width / heads;
  const valueLength = number("attention.value_length") ?? width / heads;
  const feedForward = number("feed_forward_length");
  const rotated = number("rope.dimension_count") ?? keyLength;
  if (!isCount(keyLength) || !isCount(valueLength) || !isCount(feedForward)) {
    return "its feed_forward_length or the length of its attention heads is impossible";
  }
  if (!isCount(rotated, keyLength) || rotated % 2 !== 0) return "its rope.dimension_count is impossible";
  const expected: Readonly<Record<string, number>> = {
    attn_q: heads * keyLength,
    attn_k: keyHeads * keyLength,
    attn_v: keyHeads * valueLength,
    attn_qkv: heads * keyLength + keyHeads * (keyLength + valueLength),
    ffn_up: feedForward,
  };
  for (const [name, [columns, rows]] of shapes) {
    const wanted = expected[/^blk\.\d+\.(\w+)\.weight$/.exec(name)?.[1] ?? ""];
    if (wanted !== undefined && (columns !== BigInt(width) || rows !== BigInt(wanted))) {
      return `its tensor ${name} does not fit its hyperparameters`;
    }
  }
  const contextLength = number("context_length");
  const positions = shapes.get("position_embd.weight")?.[1];
  if (!isCount(contextLength) || (positions !== undefined && positions !== BigInt(contextLength))) {
    return "its context_length is impossible";
  }
  return shapes.get("token_embd.weight")?.[0] === BigInt(width)
    ? undefined
    : "its token_embd.weight does not fit its embedding_length";
}

function isCount(value: unknown, most = Number.MAX_SAFE_INTEGER): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 1 && value <= most;
}
