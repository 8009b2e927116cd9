/** A slot that still has prompt tokens to read. */
export interface PendingPrefill {
  readonly slot: number;
  readonly remaining: number;
}

export interface PrefillChunk {
  readonly slot: number;
  readonly take: number;
}

/**
 * From so many tokens of a sequence on, llama.cpp attends to all of them at once on the CPU (`GGML_FA_TILE_Q`). With fewer, each is compared
 * with the whole context by itself: after 2,000 tokens, 16 cost as much as 64.
 */
const attendedAtOnce = 64;

/**
 * Shares one batch of at most `budget` tokens among the slots that are reading their prompts: half for the one that has
 * waited longest, so that it always gets on, the rest for those that need least, so that a short prompt is not kept
 * behind a long one. A batch that would fall into parts too small to be attended to at once goes to either of them in turns.
 *
 * @param pending in order of arrival
 * @param isTurnOfOldest whether a batch that is too small to be shared goes to the oldest one
 * @returns in ascending order of slots, as the engine wants them
 */
export function planPrefill(pending: readonly PendingPrefill[], budget: number, isTurnOfOldest: boolean): PrefillChunk[] {
  const [oldest, ...others] = pending;
  if (oldest === undefined) return [];
  const share = budget >= 2 * attendedAtOnce ? Math.ceil(budget / 2) : isTurnOfOldest ? budget : 0;
  const reserved = Math.min(oldest.remaining, others.length === 0 ? budget : share);
  let left = budget - reserved;
  const chunks: PrefillChunk[] = [];
  for (const { slot, remaining } of others.sort((a, b) => a.remaining - b.remaining)) {
    const take = Math.min(remaining, left);
    if (take === 0) break;
    chunks.push({ slot, take });
    left -= take;
  }
  const take = Math.min(oldest.remaining, reserved + left);
  if (take > 0) chunks.push({ slot: oldest.slot, take });
  return chunks.sort((a, b) => a.slot - b.slot);
}

/** Batches of which a token costs about the same: in a small one it costs several times as much as in a large one. */
export function prefillKind(tokens: number): string {
  return `prefill ${Math.floor(4 * Math.log2(tokens))}`;
}

/** How long a prefill batch may keep the slots that are decoding waiting, in milliseconds, where as many read as decode. */
const stallMs = 150;

/** Below this a batch costs as much per token as no batching at all. */
const smallestBudget = 16;

/** How many times as long as otherwise answers may wait for a batch that is attended to at once. */
const worthwhileStall = 2;

/** Learns how fast this machine reads prompts, and so how many tokens fit between two decode steps. */
export class PrefillPace {
  readonly #batchSize: number;
  /** Of a token in a batch that is attended to at once, and in a smaller one. */
  readonly #large = new Pace();
  readonly #small = new Pace();

  constructor(batchSize: number) {
    this.#batchSize = batchSize;
  }

  /**
   * @param reading slots that read their prompts
   * @param decoding slots whose answers the batch holds up; the fewer they are, the longer they may wait for the others
   */
  budget(reading: number, decoding: number): number {
    if (decoding === 0) return this.#batchSize;
    return Math.min(this.#batchSize, this.#fitting(stallMs * Math.max(1, reading / decoding)));
  }

  #fitting(patienceMs: number): number {
    const { msPerToken: large } = this.#large;
    if (large === undefined) return attendedAtOnce;
    const fitting = Math.floor(patienceMs / large);
    if (fitting >= attendedAtOnce) return fitting;
    const small = this.#small.msPerToken ?? large;
    const fewer = Math.min(Math.max(smallestBudget, Math.floor(patienceMs / small)), attendedAtOnce);
    return attendedAtOnce * large <= worthwhileStall * Math.max(patienceMs, fewer * small) ? attendedAtOnce : fewer;
  }

  /** @param mostOfSlot tokens of the batch that belong to one slot, at most */
  observe(tokens: number, mostOfSlot: number, elapsedMs: number): void {
    if (tokens < smallestBudget) return;
    (mostOfSlot < attendedAtOnce ? this.#small : this.#large).observe(elapsedMs / tokens);
  }
}

/** Weight of the newest measurement. */
const smoothing = 0.3;

/** A cost that changes slowly. */
class Pace {
  msPerToken: number | undefined;

  observe(latest: number): void {
    this.msPerToken = this.msPerToken === undefined ? latest : smoothing * latest + (1 - smoothing) * this.msPerToken;
  }
}
