import type { Memory } from "../../protocol/runner.ts";

const mebibyte = 1_024 * 1_024;

/** What is missing, and what to do about it, as part of a sentence. */
export function describeShortage({ ram, vram }: Memory): string {
  const parts = [
    ...(ram > 0 ? [`${Math.ceil(ram / mebibyte)} MiB of main memory`] : []),
    ...(vram > 0 ? [`${Math.ceil(vram / mebibyte)} MiB of GPU memory`] : []),
  ];
  if (parts.length === 0) return "pinned models take every place there is";
  return `it is short by ${parts.join(" and ")}, even with every model unloaded that may be. Use a smaller model or quantization, fewer slots, a smaller context size, or raise the memory budget`;
}
