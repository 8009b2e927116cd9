import { createHash, randomInt, randomUUID } from "node:crypto";
import type { Logger } from "pino";
import type { Limits } from "../protocol/limits.ts";
import type { Metrics } from "../health/metrics/metrics.ts";
import type { JobRequest } from "../models/job.ts";
import type { Pool } from "../models/pool.ts";
import { LlamapodError, toLlamapodError } from "../protocol/errors.ts";
import type { AnswerFormat, Prompt, Sampling } from "../protocol/request.ts";
import { CallReader } from "./calls/call-reader.ts";
import { Generation, type Origin } from "./generation.ts";
import { logMistake } from "./mistakes.ts";
import { Readers } from "./readers.ts";
import { checkRequest } from "./request-limits.ts";

/** A request as every door hands it over. Absent sampling values get their defaults. */
export interface GenerationRequest {
  readonly model: string | undefined;
  readonly prompt: Prompt;
  readonly sampling: Partial<Sampling>;
  readonly maxTokens: number | undefined;
  readonly stop: readonly string[];
  readonly ignoreEndOfTurn: boolean;
  /** What the answer has to be; any text without it. */
  readonly format: AnswerFormat | undefined;
  /** The greater is served first; 0 is ordinary. */
  readonly priority: number;
}

/** What becomes of an answer that nobody reads. */
export interface Detachment {
  /** How long it goes on, in milliseconds. */
  readonly graceMs?: number | undefined;
  readonly onExpire?: "cancel" | "finish" | undefined;
}

export interface GenerationSettings {
  readonly limits: Limits;
  /** Whose prompts are reused. */
  readonly prefixCache: "key" | "shared";
  /** How long an answer goes on that nobody reads, in milliseconds. */
  readonly graceMs: number;
  /** How long the log of an ended answer is kept, in milliseconds. */
  readonly retentionMs: number;
}

/** What a client is told that has to wait for others to end. */
const retryAfterFullMs = 2_000;

/** How long after its connection broke a reader has a new one, as a rule. */
const comesBackWithinMs = 5_000;

/** Ids that are remembered to have expired, so that a late reader is told so. */
const rememberedIds = 10_000;

/** As llama.cpp's own tools have them. */
const samplingDefaults: Omit<Sampling, "seed"> = {
  temperature: 0.8,
  topP: 0.95,
  topK: 40,
  minP: 0.05,
  repeatPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
};

interface Entry {
  readonly generation: Generation;
  readonly jobId: string;
  readonly owner: string;
  readonly fingerprint: string;
  readonly detachment: Detachment;
  /** Those who have not acknowledged its end. */
  readonly readers: Readers;
  timer: NodeJS.Timeout | undefined;
  /** A cancellation may come before the job has reached the pool. */
  cancelled: boolean;
  /** When a connection broke that it was read over, by the clock of `performance.now`. */
  brokenAt: number;
}

/** All generations, under way and kept, by owner and id. To anyone but its owner a generation does not exist. */
export class Generations {
  readonly #pool: Pool;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #settings: GenerationSettings;
  readonly #entries = new Map<string, Entry>();
  readonly #expired = new Set<string>();
  /** What all logs together take of memory, about. */
  #bytes = 0;

  constructor(pool: Pool, metrics: Metrics, log: Logger, settings: GenerationSettings) {
    this.#pool = pool;
    this.#log = log;
    this.#metrics = metrics;
    this.#settings = settings;
    metrics.observeStreams(() => ({
      detached: this.#active().filter(({ generation }) => generation.subscriberCount === 0).length,
      replayBytes: this.#bytes,
    }));
  }

  /** How many have not ended yet. */
  get activeCount(): number {
    return this.#active().length;
  }

  /** How many have ended, and are still being read, or will be as soon as their reader has a new connection. */
  get lateCount(): number {
    const awaitedSince = performance.now() - comesBackWithinMs;
    const isLate = ({ generation, readers, brokenAt }: Entry) =>
      generation.hasEnded && (generation.subscriberCount > 0 || (!readers.isEmpty && brokenAt > awaitedSince));
    return [...this.#entries.values()].filter(isLate).length;
  }

  /**
   * Begins a generation, or finds the one that the same owner began with the same id and body. One that ended in an error
   * after which trying again makes sense is begun again.
   *
   * @throws {LlamapodError} `idempotency_conflict` when the id belongs to another body; what `checkRequest` throws;
   * `generation_share_exceeded`, `too_many_generations`, `log_memory_full`
   */
  begin(owner: string, id: string, origin: Origin, request: GenerationRequest, detachment: Detachment = {}): Generation {
    const key = keyOf(owner, id);
    const fingerprint = createHash("sha256").update(JSON.stringify(request)).digest("hex");
    const known = this.#entries.get(key);
    const mayBeRetried = known?.generation.error?.retryable === true;
    if (known !== undefined && !mayBeRetried) {
      if (known.fingerprint === fingerprint) return known.generation;
      const message = `The id ${id} already belongs to a generation with another request. Use a new id for each request.`;
      throw new LlamapodError("idempotency_conflict", message, { param: "id" });
    }
    checkRequest(request, detachment, this.#settings.limits);
    this.#checkRoom(owner);
    if (known !== undefined) this.#remove(key, known);
    const { maxLogBytes } = this.#settings.limits;
    const generation = new Generation(id, origin, this.#metrics, callReader(request.prompt), maxLogBytes, {
      grown: (bytes) => {
        this.#bytes += bytes;
        this.#makeRoom();
      },
      ended: ({ ending, error }) => {
        this.#keep(key);
        this.#log.info(
          { request_id: origin.requestId, trace_id: origin.span.traceId, generation: id, ...ending },
          "generation ended",
        );
        // What it failed of may be unknown to the pool.
        if (error !== undefined) this.#pool.cancel(entry.jobId);
      },
    });
    const entry: Entry = {
      generation,
      jobId: randomUUID(),
      owner,
      fingerprint,
      detachment,
      readers: new Readers(),
      timer: undefined,
      cancelled: false,
      brokenAt: -Infinity,
    };
    this.#entries.set(key, entry);
    this.#submit(owner, entry, request).catch((thrown: unknown) => {
      const error = toLlamapodError(thrown);
      logMistake(this.#log, error, { request_id: origin.requestId, generation: id });
      generation.failed(error);
    });
    return generation;
  }

  /** To read it on. @throws {LlamapodError} `generation_not_found`, `resume_expired` */
  find(owner: string, id: string): Generation {
    const key = keyOf(owner, id);
    const entry = this.#entries.get(key);
    const hasExpired = this.#expired.has(key);
    this.#metrics.requests.resumed(entry !== undefined ? "ok" : hasExpired ? "expired" : "not_found");
    if (entry !== undefined) return entry.generation;
    if (hasExpired) throw new LlamapodError("resume_expired", `The log of generation ${id} is no longer kept.`, { param: "id" });
    throw new LlamapodError("generation_not_found", `There is no generation ${id}.`, { param: "id" });
  }

  cancel(owner: string, id: string): void {
    const entry = this.#entries.get(keyOf(owner, id));
    if (entry === undefined) return;
    entry.cancelled = true;
    this.#pool.cancel(entry.jobId);
  }

  /** A reader has come or gone: without any, the answer goes on for the grace time only. */
  readersChanged(owner: string, id: string): void {
    const entry = this.#entries.get(keyOf(owner, id));
    if (entry === undefined || entry.generation.hasEnded) return;
    clearTimeout(entry.timer);
    const { graceMs = this.#settings.graceMs, onExpire = "cancel" } = entry.detachment;
    if (entry.generation.subscriberCount > 0 || onExpire === "finish") return;
    entry.timer = setTimeout(() => {
      this.#metrics.requests.expired();
      entry.cancelled = true;
      this.#pool.cancel(entry.jobId);
    }, graceMs);
  }

  /** Somebody begins to read over this connection, as `reader` if that may have several. The log is kept until all have acknowledged it. */
  joined(owner: string, id: string, connection: symbol, reader?: string): void {
    this.#entries.get(keyOf(owner, id))?.readers.joined(connection, reader);
  }

  /**
   * Who reads over this connection has everything up to `seq`: a complete log that all have need not be kept any longer.
   *
   * @returns whether that is the end of a reading
   */
  acknowledge(owner: string, id: string, connection: symbol, seq: number): boolean {
    const key = keyOf(owner, id);
    const entry = this.#entries.get(key);
    if (entry?.generation.hasEnded !== true || seq < entry.generation.lastSeq) return false;
    if (!entry.readers.left(connection)) return false;
    if (entry.readers.isEmpty) this.#forget(key);
    return true;
  }

  /** Nobody has closed this connection: who reads over it comes back for what it has not acknowledged. */
  connectionBroke(owner: string, connection: symbol): void {
    const now = performance.now();
    for (const entry of this.#entries.values()) {
      if (entry.owner === owner && entry.readers.has(connection)) entry.brokenAt = now;
    }
  }

  /** Who reads over this connection is gone for good: the answer ends, and for such a reader no log need be kept. */
  abandon(owner: string, id: string, connection: symbol): void {
    this.cancel(owner, id);
    const key = keyOf(owner, id);
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    entry.readers.left(connection);
    if (entry.generation.hasEnded && entry.readers.isEmpty) this.#forget(key);
  }

  async #submit(owner: string, entry: Entry, request: GenerationRequest): Promise<void> {
    const { id: modelId, definition } = await this.#pool.resolve(request.model);
    // Raw text is continued as it is, without turns that could end; an answer in a given form may hold what ends other ones.
    const { prompt, format } = request;
    const mayStop = prompt.kind === "chat" && format === undefined && (prompt.tools?.choice ?? "auto") === "auto";
    const job: JobRequest = {
      id: entry.jobId,
      requestId: entry.generation.origin.requestId,
      modelId,
      namesModel: request.model !== undefined,
      client: owner,
      cacheScope: this.#settings.prefixCache === "shared" ? "" : createHash("sha256").update(owner).digest("base64url"),
      priority: request.priority,
      prompt,
      sampling: { ...samplingDefaults, seed: randomInt(2 ** 32), ...definition.sampling, ...request.sampling },
      maxTokens: request.maxTokens,
      stop: mayStop ? [...request.stop, ...(definition.stop ?? [])] : request.stop,
      ignoreEndOfTurn: request.ignoreEndOfTurn,
      format,
    };
    this.#pool.submit(job, entry.generation);
    if (entry.cancelled) this.#pool.cancel(entry.jobId);
  }

  #active(): Entry[] {
    return [...this.#entries.values()].filter(({ generation }) => !generation.hasEnded);
  }

  #checkRoom(owner: string): void {
    const { maxGenerations, maxGenerationsPerClient, maxTotalLogBytes } = this.#settings.limits;
    const active = this.#active();
    if (active.filter((entry) => entry.owner === owner).length >= maxGenerationsPerClient) {
      const message = `You have ${maxGenerationsPerClient} answers under way, which is the limit. Wait for one to end, or cancel one.`;
      throw new LlamapodError("generation_share_exceeded", message, { retryAfterMs: retryAfterFullMs });
    }
    if (active.length >= maxGenerations) {
      const message = `The server has ${maxGenerations} answers under way, which is the limit.`;
      throw new LlamapodError("too_many_generations", message, { retryAfterMs: retryAfterFullMs });
    }
    if (active.reduce((sum, { generation }) => sum + generation.bytes, 0) >= maxTotalLogBytes) {
      const message = "The answers that are under way take as much of the server's memory as it has for them.";
      throw new LlamapodError("log_memory_full", message, { retryAfterMs: retryAfterFullMs });
    }
  }

  #keep(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    if (entry.readers.isEmpty) {
      this.#forget(key);
      return;
    }
    clearTimeout(entry.timer);
    entry.timer = setTimeout(() => {
      this.#forget(key);
    }, this.#settings.retentionMs).unref();
    const ended = [...this.#entries.values()].filter(({ generation }) => generation.hasEnded).length;
    if (ended > this.#settings.limits.maxKeptAnswers) this.#forgetOldest(() => 1);
  }

  #forget(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#remove(key, entry);
    this.#expired.add(key);
    const [oldest] = this.#expired;
    if (this.#expired.size > rememberedIds && oldest !== undefined) this.#expired.delete(oldest);
  }

  #remove(key: string, { timer, generation }: Entry): void {
    clearTimeout(timer);
    this.#entries.delete(key);
    this.#bytes -= generation.bytes;
  }

  /** Beyond the budget ended logs go; where that is not enough, the largest answer under way ends. */
  #makeRoom(): void {
    const { maxTotalLogBytes } = this.#settings.limits;
    while (this.#bytes > maxTotalLogBytes) {
      if (this.#forgetOldest(({ generation }) => generation.bytes)) continue;
      const largest = this.#active().reduce((most, entry) => (entry.generation.bytes > most.generation.bytes ? entry : most));
      const message = "All answers together take more of the server's memory than it has for them, and this is the longest one.";
      largest.generation.failed(new LlamapodError("log_memory_full", message, { retryAfterMs: retryAfterFullMs }));
      return;
    }
  }

  /**
   * Of those that have ended, and of the owner whose ones weigh most: nobody's answers push out another's.
   *
   * @returns whether there was one
   */
  #forgetOldest(weigh: (entry: Entry) => number): boolean {
    const ended = [...this.#entries].filter(([, { generation }]) => generation.hasEnded);
    const weights = new Map<string, number>();
    for (const [, entry] of ended) weights.set(entry.owner, (weights.get(entry.owner) ?? 0) + weigh(entry));
    const heaviest = Math.max(...weights.values());
    const oldest = ended.find(([, { owner }]) => weights.get(owner) === heaviest);
    if (oldest === undefined) return false;
    this.#forget(oldest[0]);
    return true;
  }
}

/** Where there are no tools, nothing is a call, whatever it looks like. */
function callReader(prompt: Prompt): CallReader | undefined {
  if (prompt.kind !== "chat" || prompt.tools === undefined) return undefined;
  const { tools, choice, isParallel } = prompt.tools;
  const names = tools.map(({ name }) => name);
  return new CallReader(names, isParallel && typeof choice !== "object" ? Infinity : 1);
}

function keyOf(owner: string, id: string): string {
  return `${owner}/${id}`;
}
