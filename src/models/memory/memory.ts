import type { Memory } from "../../protocol/runner.ts";

export const none: Memory = { ram: 0, vram: 0 };

export function add(...parts: readonly Memory[]): Memory {
  return parts.reduce((sum, part) => ({ ram: sum.ram + part.ram, vram: sum.vram + part.vram }), none);
}

/** Never less than nothing. */
export function subtract(from: Memory, part: Memory): Memory {
  return { ram: Math.max(0, from.ram - part.ram), vram: Math.max(0, from.vram - part.vram) };
}

export function fits(wanted: Memory, free: Memory): boolean {
  return wanted.ram <= free.ram && wanted.vram <= free.vram;
}

export function larger(a: Memory, b: Memory): Memory {
  return { ram: Math.max(a.ram, b.ram), vram: Math.max(a.vram, b.vram) };
}
