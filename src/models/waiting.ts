import { LlamapodError } from "../protocol/errors.ts";
import type { Job, QueueReason } from "./job.ts";
import { Queue } from "./queue.ts";
import type { Resident } from "./resident.ts";
import { isLeaving } from "./runner-state.ts";

export interface WaitingSettings {
  readonly slots: number;
  readonly maxQueue: number;
  readonly maxQueuePerClient: number;
}

/** How long a model takes, in milliseconds. */
interface Pace {
  readonly jobMs: number;
  readonly loadMs: number;
}

/** Of a model that has not shown it yet. */
const presumed: Pace = { jobMs: 5_000, loadMs: 5_000 };

/** Weight of the newest job. */
const jobSmoothing = 0.2;

/** The bounded queue as those see it who wait in it, or would like to: their place, what they wait for, and how long. */
export class Waiting {
  readonly queue = new Queue();
  readonly #settings: WaitingSettings;
  readonly #paces = new Map<string, Pace>();

  constructor(settings: WaitingSettings) {
    this.#settings = settings;
  }

  /** @throws {LlamapodError} `overloaded`, `queue_share_exceeded` */
  checkPlace(client: string, residents: readonly Resident[]): void {
    const { maxQueue, maxQueuePerClient } = this.#settings;
    if (this.queue.size >= maxQueue) {
      const message = `${maxQueue} requests are waiting already, which is the limit.`;
      throw new LlamapodError("overloaded", message, { retryAfterMs: this.#passMs(this.queue.jobs, residents) });
    }
    const isOwn = ({ request }: Job): boolean => request.client === client;
    const own = this.queue.jobs.filter(isOwn).length;
    if (own < maxQueuePerClient) return;
    const running = residents.flatMap(({ jobs }) => jobs);
    const inOrder = this.queue.inOrder(running, performance.now());
    const untilFirst = inOrder.slice(0, inOrder.findIndex(isOwn) + 1);
    const message = `${own} of your requests are waiting already, which is your share of the queue. Wait for one of them to begin.`;
    throw new LlamapodError("queue_share_exceeded", message, { retryAfterMs: this.#passMs(untilFirst, residents) });
  }

  /** A job has ended: so long do they take. One that was refused, or was cancelled before it had anything, says nothing of that. */
  served({ modelId, servedMs, usage }: Job): void {
    if (usage.completion_tokens === 0) return;
    const pace = this.#paceOf(modelId);
    this.#paces.set(modelId, { ...pace, jobMs: pace.jobMs + jobSmoothing * (servedMs - pace.jobMs) });
  }

  /** A model has been loaded: so long does that take. */
  loaded({ entry: { id }, loadMs }: Resident): void {
    this.#paces.set(id, { ...this.#paceOf(id), loadMs });
  }

  /** A model is gone for good. */
  forget(modelId: string): void {
    this.#paces.delete(modelId);
  }

  /** @param mayStart whether a model would be loaded now if there were room for it */
  tellPositions(residents: readonly Resident[], mayStart: (modelId: string) => boolean): void {
    const running = residents.flatMap(({ jobs }) => jobs);
    for (const [index, job] of this.queue.inOrder(running, performance.now()).entries()) {
      job.queuedAt(index + 1, reasonToWait(job, residents, mayStart));
    }
  }

  /** Until these have passed: those of loaded models beside each other, those of the others in a turn of each, with its load. */
  #passMs(jobs: readonly Job[], residents: readonly Resident[]): number {
    let besideMs = 0;
    let turnsMs = 0;
    for (const modelId of new Set(jobs.map((job) => job.modelId))) {
      const { jobMs, loadMs } = this.#paceOf(modelId);
      const workMs = (jobMs * jobs.filter((job) => job.modelId === modelId).length) / this.#settings.slots;
      if (isServing(residents, modelId)) besideMs = Math.max(besideMs, workMs);
      else turnsMs += loadMs + workMs;
    }
    return Math.max(1_000, Math.round(besideMs + turnsMs));
  }

  #paceOf(modelId: string): Pace {
    return this.#paces.get(modelId) ?? presumed;
  }
}

function isServing(residents: readonly Resident[], modelId: string): boolean {
  const resident = residents.find(({ entry }) => entry.id === modelId);
  return resident?.runner.state.name === "ready" && resident.closedAt === undefined;
}

function reasonToWait({ modelId }: Job, residents: readonly Resident[], mayStart: (modelId: string) => boolean): QueueReason {
  const own = residents.find(({ entry }) => entry.id === modelId);
  if (own === undefined) return residents.length > 0 && mayStart(modelId) ? "memory" : "loading";
  const { state } = own.runner;
  if (state.name === "ready") return own.closedAt === undefined ? "slot" : "memory";
  return isLeaving(state) ? "memory" : "loading";
}
