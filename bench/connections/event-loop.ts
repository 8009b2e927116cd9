/** Counts of how late timers of the server's event loop fired, by the upper bound in seconds; cumulative, as `/metrics` has them. */
export type LoopDelays = ReadonlyMap<number, number>;

export async function loopDelays(url: string): Promise<LoopDelays> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const buckets = text.matchAll(/^llamapod_event_loop_delay_seconds_bucket\{le="([^"]+)",process="server"\} (\d+)$/gm);
  return new Map([...buckets].map(([, bound, count]) => [bound === "+Inf" ? Infinity : Number(bound), Number(count)]));
}

/** The upper bound, in milliseconds, of the bucket in which a quantile of what happened between two readings lies. */
export function boundBetween(before: LoopDelays, after: LoopDelays, quantile: number): number {
  const counts = [...after].map(([upper, count]) => [upper, count - (before.get(upper) ?? 0)] as const);
  const total = counts.find(([upper]) => upper === Infinity)?.[1] ?? 0;
  return (counts.find(([, count]) => count >= quantile * total)?.[0] ?? Infinity) * 1_000;
}
