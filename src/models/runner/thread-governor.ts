/**
 * Finds out how many compute threads are fastest right now.
 *
 * llama.cpp's threads wait for each other by spinning, hundreds of times in a step. When something else runs on one of their
 * cores, every wait can last as long as the scheduler leaves the other program there, and a step takes ten to a hundred
 * times longer than with a thread less. What else runs on the machine changes, so nothing but trying tells: now and then a
 * few batches are computed with fewer or more threads, and the faster number stays.
 */
export class ThreadGovernor {
  readonly #most: number;
  #threads: number;
  #kind = "";
  #usual: number[] = [];
  #trial: { readonly threads: number; readonly costs: number[] } | undefined;
  #direction: "fewer" | "more" = "fewer";
  #pauseMs = shortestPauseMs;
  #nextTrialAt: number;

  /** @param most threads to compute with, which are tried first; @param now in milliseconds, on any steady clock */
  constructor(most: number, now: number) {
    this.#most = most;
    this.#threads = most;
    this.#nextTrialAt = now + shortestPauseMs;
  }

  /** How many threads the next batch should have. */
  get threads(): number {
    return this.#trial?.threads ?? this.#threads;
  }

  /**
   * @param kind batches of one kind cost the same; others are not compared
   * @param cost of a batch just computed, such as its milliseconds
   */
  observe(kind: string, cost: number, now: number): void {
    if (kind !== this.#kind) {
      this.#kind = kind;
      this.#usual = [];
      this.#trial = undefined;
      return;
    }
    if (this.#trial !== undefined) this.#judge(this.#trial, cost, now);
    else this.#wait(cost, now);
  }

  #wait(cost: number, now: number): void {
    this.#usual = [...this.#usual, cost].slice(-remembered);
    if (now < this.#nextTrialAt || this.#usual.length < trialBatches) return;
    const threads = this.#candidate();
    if (threads === this.#threads) this.#turnRound();
    else this.#trial = { threads, costs: [] };
  }

  #judge(trial: { threads: number; costs: number[] }, cost: number, now: number): void {
    const usual = median(this.#usual);
    trial.costs.push(cost);
    const isHopeless = cost > hopeless * usual;
    if (trial.costs.length < trialBatches && !isHopeless) return;
    this.#trial = undefined;
    if (!isHopeless && median(trial.costs) < worthwhile * usual) {
      this.#threads = trial.threads;
      this.#usual = trial.costs;
      this.#pauseMs = shortestPauseMs;
    } else {
      this.#turnRound();
      this.#pauseMs = Math.min(longestPauseMs, this.#pauseMs * 2);
    }
    this.#nextTrialAt = now + this.#pauseMs;
  }

  /** A quarter up or down, so that many cores are crossed in few trials. */
  #candidate(): number {
    const distance = Math.max(1, Math.floor(this.#threads / 4));
    return this.#direction === "fewer" ? Math.max(1, this.#threads - distance) : Math.min(this.#most, this.#threads + distance);
  }

  #turnRound(): void {
    this.#direction = this.#direction === "fewer" ? "more" : "fewer";
  }
}

/** Batches that a trial takes. */
const trialBatches = 3;

/** Usual costs that a trial is compared with. */
const remembered = 9;

/** A trial is kept when it costs less than this share of what is usual. */
const worthwhile = 0.92;

/** A trial that costs this many times the usual is not carried on. */
const hopeless = 1.8;

const shortestPauseMs = 500;
const longestPauseMs = 30_000;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
