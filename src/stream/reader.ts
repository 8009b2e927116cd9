import type { Frame, Generation } from "./generation.ts";

export interface Reading {
  /** The last event that the reader has. */
  readonly after?: number;
  /** The reader is gone. */
  readonly signal: AbortSignal;
  /** Told when this reader has come, and when it has left. */
  readonly onReadersChanged: () => void;
}

/**
 * The frames of a generation to its end, at the pace of whoever iterates. Leaving the loop ends the reading, not the
 * generation.
 */
export async function* framesOf(
  generation: Generation,
  { after = 0, signal, onReadersChanged }: Reading,
): AsyncGenerator<Frame, void, undefined> {
  let wake: (() => void) | undefined;
  const unsubscribe = generation.subscribe({
    advanced: () => wake?.(),
    queued: () => undefined,
  });
  const abort = () => wake?.();
  signal.addEventListener("abort", abort);
  onReadersChanged();
  try {
    for (let cursor = after; !signal.aborted;) {
      const frame = generation.next(cursor);
      if (frame !== undefined) {
        cursor = frame.seq;
        yield frame;
      } else if (generation.hasEnded) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    signal.removeEventListener("abort", abort);
    unsubscribe();
    onReadersChanged();
  }
}
