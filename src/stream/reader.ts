import type { Frame, Generation } from "./generation.ts";

/**
 * The frames of a generation from its beginning to its end, at the pace of whoever iterates. Leaving the loop ends the
 * reading, not the generation.
 */
export async function* framesOf(generation: Generation): AsyncGenerator<Frame, void, undefined> {
  let wake: (() => void) | undefined;
  const unsubscribe = generation.subscribe({
    advanced: () => wake?.(),
    queued: () => undefined,
  });
  try {
    for (let cursor = 0; ;) {
      const frame = generation.next(cursor);
      if (frame !== undefined) {
        cursor = frame.seq;
        yield frame;
        if (frame.type === "done" || frame.type === "error") return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    unsubscribe();
  }
}
