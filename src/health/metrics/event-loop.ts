/**
 * Measures how late timers fire, which is how long everything waited. One's own, because the histogram that prom-client brings
 * along starts anew at every scrape: two scrapers would each see half.
 */
export function watchEventLoop(observe: (delaySeconds: number) => void): () => void {
  let due = performance.now() + everyMs;
  const timer = setInterval(() => {
    const now = performance.now();
    observe(Math.max(0, now - due) / 1_000);
    due = now + everyMs;
  }, everyMs).unref();
  return () => {
    clearInterval(timer);
  };
}

const everyMs = 20;
