import { LlamapodError } from "../protocol/errors.ts";
import type { Job, QueueReason } from "./job.ts";
import { Queue } from "./queue.ts";
import type { Resident } from "./resident.ts";

export interface WaitingSettings {
  readonly slots: number;
  readonly maxQueue: number;
  readonly maxQueuePerClient: number;
}

/** Used for the first estimate of `Retry-After`, before any job has ended. */
const presumedJobMs = 5_000;

/** Weight of the newest job in the estimate. */
const jobSmoothing = 0.2;

/** The bounded queue as those see it who wait in it, or would like to: their place, what they wait for, and how long. */
export class Waiting {
  readonly queue = new Queue();
  readonly #settings: WaitingSettings;
  #jobMs = presumedJobMs;

  constructor(settings: WaitingSettings) {
    this.#settings = settings;
  }

  /** @throws {LlamapodError} `overloaded`, `queue_share_exceeded` */
  checkPlace(client: string): void {
    const { maxQueue, maxQueuePerClient } = this.#settings;
    if (this.queue.size >= maxQueue) {
      const message = `${maxQueue} requests are waiting already, which is the limit.`;
      throw new LlamapodError("overloaded", message, { retryAfterMs: this.#passMs(this.queue.size) });
    }
    const own = this.queue.countOf(client);
    if (own < maxQueuePerClient) return;
    const message = `${own} of your requests are waiting already, which is your share of the queue. Wait for one of them to begin.`;
    throw new LlamapodError("queue_share_exceeded", message, { retryAfterMs: this.#passMs(own) });
  }

  /** A job has ended: so long do they take. One that was refused, or was cancelled before it had anything, says nothing of that. */
  served({ servedMs, usage }: Job): void {
    if (usage.completion_tokens === 0) return;
    this.#jobMs += jobSmoothing * (servedMs - this.#jobMs);
  }

  /** @param mayStart whether a model would be loaded now if there were room for it */
  tellPositions(residents: readonly Resident[], mayStart: (modelId: string) => boolean): void {
    const running = residents.flatMap(({ jobs }) => jobs);
    for (const [index, job] of this.queue.inOrder(running, performance.now()).entries()) {
      job.queuedAt(index + 1, reasonToWait(job, residents, mayStart));
    }
  }

  /** Until so many jobs have passed through the slots. */
  #passMs(jobs: number): number {
    return Math.max(1_000, Math.round((this.#jobMs * jobs) / this.#settings.slots));
  }
}

function reasonToWait({ modelId }: Job, residents: readonly Resident[], mayStart: (modelId: string) => boolean): QueueReason {
  const own = residents.find(({ entry }) => entry.id === modelId);
  if (own?.runner.state.name === "ready") return own.closedAt === undefined ? "slot" : "memory";
  const isSomebodyInTheWay = residents.some(({ runner: { state } }) => state.name === "ready");
  return own === undefined && isSomebodyInTheWay && mayStart(modelId) ? "memory" : "loading";
}
