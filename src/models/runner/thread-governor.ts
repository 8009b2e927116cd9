/**
 * Finds out how many compute threads are fastest right now.
 *
 * llama.cpp's threads wait for each other by spinning, hundreds of times in a step. When something else runs on one of their
 * cores, every wait can last as long as the scheduler leaves the other program there, and a step takes ten to a hundred
 * times longer than with a thread less. What else runs on the machine changes, so nothing but trying tells: a few batches
 * are computed with another number of threads, and the faster number stays.
 *
 * Fewer threads are tried for every kind of batch that is new, and when batches have suddenly become slow; more, from time
 * to time, while there are fewer than there could be.
 */
export class ThreadGovernor {
  readonly #most: number;
  #threads: number;
  #trial: Trial | undefined;
  /** The latest costs of each kind, with the present number of threads. */
  #usual = new Map<string, readonly number[]>();
  readonly #knownKinds = new Set<string>();
  #pauseMs = shortestPauseMs;
  #nextTrialAt = 0;

  /** @param most threads to compute with, which are tried first */
  constructor(most: number) {
    this.#most = most;
    this.#threads = most;
  }

  /**
   * How many threads the next batch should have.
   *
   * @param kind batches of one kind cost about the same; others are not compared
   */
  threadsFor(kind: string): number {
    return this.#trial?.kind === kind ? this.#trial.threads : this.#threads;
  }

  /**
   * @param kind as `threadsFor` was asked with
   * @param cost of a batch just computed, such as its milliseconds
   * @param now in milliseconds, on any steady clock
   */
  observe(kind: string, cost: number, now: number): void {
    if (this.#most === 1) return;
    if (this.#trial?.kind === kind) this.#judge(this.#trial, cost, now);
    else this.#note(kind, cost, now);
  }

  #note(kind: string, cost: number, now: number): void {
    const usual = this.#usual.get(kind) ?? [];
    const before = usual.slice(0, -1);
    const isSlower = before.length >= trialBatches && Math.min(cost, usual.at(-1) ?? 0) > suspicious * median(before);
    const latest = [...usual, cost].slice(isSlower ? -2 : -remembered);
    this.#usual.set(kind, latest);
    if (latest.length < trialBatches && !isSlower) return;
    // One trial at a time, unless something else runs now, or batches of its kind have stopped coming.
    if (this.#trial !== undefined && now - this.#trial.begunAt < trialMs && !isSlower) return;
    const isNew = !this.#knownKinds.has(kind);
    this.#knownKinds.add(kind);
    // Down by halves, because every thread too many costs all of it; up by quarters.
    if ((isNew || isSlower) && this.#threads > 1) {
      this.#trial = { kind, threads: Math.ceil(this.#threads / 2), begunAt: now, costs: [] };
    } else if (this.#threads < this.#most && now >= this.#nextTrialAt) {
      const more = Math.min(this.#most, this.#threads + Math.ceil(this.#threads / 4));
      this.#trial = { kind, threads: more, begunAt: now, costs: [] };
    }
  }

  #judge(trial: Trial, cost: number, now: number): void {
    const usual = median(this.#usual.get(trial.kind) ?? []);
    trial.costs.push(cost);
    const isHopeless = cost > hopeless * usual;
    if (trial.costs.length < trialBatches && !isHopeless) return;
    this.#trial = undefined;
    const isFaster = !isHopeless && median(trial.costs) < worthwhile * usual;
    if (isFaster) {
      // With fewer threads still better ones may follow, and with more there is room again: look on soon.
      this.#knownKinds.clear();
      this.#threads = trial.threads;
      this.#usual = new Map([[trial.kind, trial.costs]]);
    }
    this.#pauseMs = isFaster ? shortestPauseMs : Math.min(longestPauseMs, this.#pauseMs * 2);
    this.#nextTrialAt = now + this.#pauseMs;
  }
}

/** Another number of threads, for some batches of a kind. */
interface Trial {
  readonly kind: string;
  readonly threads: number;
  readonly begunAt: number;
  readonly costs: number[];
}

/** A trial that has not ended after so long may give way to another one. */
const trialMs = 5_000;

/** Batches that a trial takes, and that it is compared with at least. */
const trialBatches = 3;

/** Costs that are remembered of each kind. */
const remembered = 9;

/** A trial is kept when it costs less than this share of what is usual. */
const worthwhile = 0.92;

/** A trial that costs this many times the usual is not carried on. */
const hopeless = 1.4;

/** Two batches in a row that cost this many times the usual: something else is running now. */
const suspicious = 2;

const shortestPauseMs = 500;
const longestPauseMs = 30_000;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
