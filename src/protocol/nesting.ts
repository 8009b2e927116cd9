/** Whether values lie within values to more than so many levels. Found without recursion, which deep ones would exhaust. */
export function isDeeper(value: unknown, levels: number): boolean {
  let level = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > levels) return true;
    level = level.flatMap((outer) => (typeof outer === "object" && outer !== null ? Object.values(outer) : []) as unknown[]);
  }
  return false;
}
