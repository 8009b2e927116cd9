import type { Job } from "./job.ts";

/** A job that has waited this long is served like one of the next higher priority, in milliseconds. */
export const ageingMs = 10_000;

/** More urgent than any priority and any age. */
const interrupted = Number.MAX_SAFE_INTEGER / 2;

/**
 * Jobs that wait, in the order in which they are to be served: what has been interrupted, and
 * of that what a runner died under last; then by priority, which grows
 * with the time that a job has waited; then by turns between the clients, a client's running jobs being turns it has had;
 * then by arrival.
 */
export class Queue {
  #jobs: readonly Job[] = [];

  get size(): number {
    return this.#jobs.length;
  }

  /** In order of arrival. */
  get jobs(): readonly Job[] {
    return this.#jobs;
  }

  add(...jobs: readonly Job[]): void {
    this.#jobs = [...this.#jobs, ...jobs];
  }

  find(id: string): Job | undefined {
    return this.#jobs.find(({ request }) => request.id === id);
  }

  remove(job: Job): void {
    this.#jobs = this.#jobs.filter((candidate) => candidate !== job);
  }

  /** Takes out the jobs that fit. */
  takeWhere(matches: (job: Job) => boolean): readonly Job[] {
    const taken = this.#jobs.filter(matches);
    this.#jobs = this.#jobs.filter((job) => !matches(job));
    return taken;
  }

  /** @param running the jobs that are being worked on @param now in milliseconds */
  inOrder(running: readonly Job[], now: number): readonly Job[] {
    const turns = new Map<string, number>();
    const nextTurn = ({ request: { client } }: Job): number => {
      const turn = turns.get(client) ?? 0;
      turns.set(client, turn + 1);
      return turn;
    };
    for (const job of running) nextTurn(job);
    const urgency = (job: Job): number =>
      job.isPrimeSuspect
        ? 2 * interrupted
        : job.wasInterrupted
          ? interrupted
          : job.request.priority + Math.floor((now - job.acceptedAt) / ageingMs);
    return [...this.#jobs]
      .sort((a, b) => urgency(b) - urgency(a) || a.acceptedAt - b.acceptedAt)
      .map((job) => ({ job, urgency: urgency(job), turn: nextTurn(job) }))
      .sort((a, b) => b.urgency - a.urgency || a.turn - b.turn || a.job.acceptedAt - b.job.acceptedAt)
      .map(({ job }) => job);
  }
}
