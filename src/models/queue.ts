import type { Job } from "./job.ts";

/** A job that has waited this long is served like one of the next higher priority, in milliseconds. */
const ageingMs = 10_000;

/**
 * Jobs that wait, in the order in which they are to be served: what has been interrupted; then by priority, which grows
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
      job.wasInterrupted ? Infinity : job.request.priority + Math.floor((now - job.acceptedAt) / ageingMs);
    return [...this.#jobs]
      .sort((a, b) => urgencyOrder(urgency(a), urgency(b)) || a.acceptedAt - b.acceptedAt)
      .map((job) => ({ job, urgency: urgency(job), turn: nextTurn(job) }))
      .sort((a, b) => urgencyOrder(a.urgency, b.urgency) || a.turn - b.turn || a.job.acceptedAt - b.job.acceptedAt)
      .map(({ job }) => job);
  }
}

/** The more urgent first. Infinity less infinity is no number. */
function urgencyOrder(a: number, b: number): number {
  return a === b ? 0 : b - a;
}
