import { LlamapodError } from "../protocol/errors.ts";
import type { AnswerFormat, FinishReason, Prompt, Sampling } from "../protocol/request.ts";
import type { EndedEvent, GenerateCommand, RunnerCommand } from "../protocol/runner.ts";
import type { Timings, Usage } from "../protocol/stream.ts";

/** What is asked of a model. */
export interface JobRequest {
  /** Unique in this server. */
  readonly id: string;
  /** For the log. */
  readonly requestId: string;
  readonly modelId: string;
  /** Otherwise any model will do that is the active one. */
  readonly namesModel: boolean;
  /** Whom it is for: clients take turns. */
  readonly client: string;
  /** Requests of one scope may be given what is kept of each other's prompts. */
  readonly cacheScope: string;
  /** The greater is served first; 0 is ordinary. */
  readonly priority: number;
  readonly prompt: Prompt;
  readonly sampling: Sampling;
  readonly maxTokens: number | undefined;
  readonly stop: readonly string[];
  readonly ignoreEndOfTurn: boolean;
  readonly format: AnswerFormat | undefined;
}

export type QueueReason = "slot" | "loading" | "memory";

/** A load that a job has waited for. Times are those of `performance.now()`. */
export interface AwaitedLoad {
  readonly loadedAt: number;
  /** How long that took of its wait; 0 where it did not wait. */
  readonly loadMs: number;
}

/** A job has got its slot. */
export interface JobStart extends AwaitedLoad {
  readonly promptTokens: number;
  readonly cachedTokens: number;
}

/** Who is told how a job fares. After `finished` or `failed` nothing more is said. */
export interface JobObserver {
  /** Said at first, and again if another model has become the active one before the job started. */
  assigned(modelId: string): void;
  /** Whenever one of them has changed, also while it is interrupted. */
  queued(position: number, reason: QueueReason): void;
  started(start: JobStart): void;
  produced(text: string, tokens: number): void;
  /** It has started, its runner is gone, and it waits for the next one. */
  interrupted(): void;
  /** The next one works on it. */
  resumed(load: AwaitedLoad): void;
  finished(reason: FinishReason, usage: Usage, timings: Timings): void;
  failed(error: LlamapodError): void;
}

/** How often a runner may die while it works on a job alone before the job is held to be the cause. */
const toleratedCrashes = 1;

/** Tokens that a job has to get after a crash before others are taken up beside it; more after each. */
const probationTokens = 8;

/** A job on its way: what it has produced, when, and through how many runners. */
export class Job {
  readonly request: JobRequest;
  readonly observer: JobObserver;
  readonly acceptedAt = performance.now();
  readonly #generated: number[] = [];
  #modelId: string;
  #since = this.acceptedAt;
  #takenAt: number | undefined;
  #servedMs = 0;
  #crashes = 0;
  /** Tokens that it has yet to get. */
  #probation = 0;
  #isPrimeSuspect = false;
  #parkings = 0;
  #isInterrupted = false;
  #cancelledAt: number | undefined;
  #promptTokens = 0;
  #cachedTokens = 0;
  #loadMs = 0;
  #startedAt: number | undefined;
  /** Since when the runner that has it reads its prompt, and how long runners before it have. */
  #readingSince = 0;
  #readMs = 0;
  #firstTokenAt: number | undefined;
  /** In the runner that has it. */
  #lastTokenAt: number | undefined;
  #decodeMs = 0;
  #decodedTokens = 0;
  #lastSampledAt: number | undefined;
  #lastQueued = "";
  #waitsFor: QueueReason = "loading";

  constructor(request: JobRequest, observer: JobObserver) {
    this.request = request;
    this.observer = observer;
    this.#modelId = request.modelId;
    observer.assigned(request.modelId);
  }

  get modelId(): string {
    return this.#modelId;
  }

  /** Whether it may be answered by another model than the one it was accepted for. */
  get isMovable(): boolean {
    return !this.request.namesModel && !this.hasStarted;
  }

  moveTo(modelId: string): void {
    this.#modelId = modelId;
    this.observer.assigned(modelId);
  }

  /** Whether it was under way already. */
  get wasInterrupted(): boolean {
    return this.#crashes + this.#parkings > 0;
  }

  /** Since when it waits, in its queue or in its slot. */
  get since(): number {
    return this.#since;
  }

  /** A runner has died under it, and it has not got far enough since to show that it was not the reason. */
  get isSuspect(): boolean {
    return this.#probation > 0;
  }

  /** The last runner died while this one alone was a suspect. */
  get isPrimeSuspect(): boolean {
    return this.#isPrimeSuspect && this.isSuspect;
  }

  /** How long runners have worked on it. */
  get servedMs(): number {
    return this.#servedMs + (this.#takenAt === undefined ? 0 : performance.now() - this.#takenAt);
  }

  get hasStarted(): boolean {
    return this.#startedAt !== undefined;
  }

  get queueMs(): number {
    return (this.#startedAt ?? performance.now()) - this.acceptedAt - this.#loadMs;
  }

  /** From slot to first token, while it had a runner. */
  get prefillMs(): number {
    return this.#firstTokenAt === undefined ? 0 : this.#readMs;
  }

  /** Between tokens that came one after the other from one runner: what lies between two runners is no decoding. */
  get decodeMs(): number {
    return this.#decodeMs;
  }

  /** The tokens that took this time. */
  get decodedTokens(): number {
    return this.#decodedTokens;
  }

  /** What it was told last that it waits for. */
  get waitsFor(): QueueReason {
    return this.#waitsFor;
  }

  get usage(): Usage {
    return { prompt_tokens: this.#promptTokens, cached_tokens: this.#cachedTokens, completion_tokens: this.#generated.length };
  }

  /** Tells the observer its place in the queue, when it has changed. */
  queuedAt(position: number, reason: QueueReason): void {
    this.#waitsFor = reason;
    const place = `${position} ${reason}`;
    if (place === this.#lastQueued) return;
    this.#lastQueued = place;
    this.observer.queued(position, reason);
  }

  command(): GenerateCommand {
    const { id, requestId, cacheScope, prompt, sampling, maxTokens, stop, ignoreEndOfTurn, format } = this.request;
    return {
      type: "generate",
      id,
      requestId,
      cacheScope,
      prompt: prompt.kind === "chat" ? { ...prompt, messages: [...prompt.messages] } : prompt,
      sampling,
      maxTokens,
      stop: [...stop],
      ignoreEndOfTurn,
      format,
      generated: this.#generated,
    };
  }

  /** A runner works on it from now on. */
  taken(): void {
    this.#takenAt = performance.now();
    this.#readingSince = this.#takenAt;
  }

  start(start: JobStart): void {
    if (this.hasStarted) return;
    this.#startedAt = performance.now();
    this.#readingSince = this.#startedAt;
    this.#loadMs = start.loadMs;
    this.#promptTokens = start.promptTokens;
    this.#cachedTokens = start.cachedTokens;
    this.observer.started(start);
  }

  /** The runner has found a slot for it, and it had started in an earlier one. */
  resume(load: AwaitedLoad): void {
    if (!this.#isInterrupted) return;
    this.#isInterrupted = false;
    this.observer.resumed(load);
  }

  /**
   * @param sampledAt on the runner's clock, in milliseconds
   * @returns the time since the token before, where there was one
   */
  produce(text: string, tokens: readonly number[], sampledAt: number): { isFirst: boolean; gapMs: number | undefined } {
    const isFirst = this.#firstTokenAt === undefined && tokens.length > 0;
    let gapMs: number | undefined;
    if (tokens.length > 0) {
      this.#timeTokens(tokens.length);
      gapMs = this.#lastSampledAt === undefined ? undefined : sampledAt - this.#lastSampledAt;
      this.#lastSampledAt = sampledAt;
      this.#generated.push(...tokens);
      this.#probation = Math.max(0, this.#probation - tokens.length);
    }
    this.observer.produced(text, tokens.length);
    return { isFirst, gapMs };
  }

  #timeTokens(count: number): void {
    const now = performance.now();
    if (this.#firstTokenAt === undefined) {
      this.#readMs += now - this.#readingSince;
      this.#firstTokenAt = now;
    }
    if (this.#lastTokenAt !== undefined) {
      this.#decodeMs += now - this.#lastTokenAt;
      this.#decodedTokens += count;
    }
    this.#lastTokenAt = now;
  }

  /** Asks the runner that works on it to end it. One that dies instead has done so, too. */
  cancel(runner: { send(command: RunnerCommand): void }): void {
    this.#cancelledAt ??= performance.now();
    runner.send({ type: "cancel", id: this.request.id });
  }

  get isCancelled(): boolean {
    return this.#cancelledAt !== undefined;
  }

  /** How long ago that was. */
  get cancelledForMs(): number {
    return this.#cancelledAt === undefined ? 0 : performance.now() - this.#cancelledAt;
  }

  /** Its runner has died. @param wasAlone there @returns whether the job may go on in another one */
  crashed(wasAlone: boolean): boolean {
    this.#isPrimeSuspect = this.isSuspect;
    this.#crashes++;
    this.#probation = probationTokens * this.#crashes;
    this.#leaveRunner();
    const goesOn = !wasAlone || this.#crashes <= toleratedCrashes;
    if (goesOn) this.#waitAgain();
    return goesOn;
  }

  /** Its runner has made room, and it goes on in another one. */
  parked(): void {
    this.#parkings++;
    this.#leaveRunner();
    this.#waitAgain();
  }

  #waitAgain(): void {
    this.#lastQueued = "";
    if (!this.hasStarted || this.#isInterrupted) return;
    this.#isInterrupted = true;
    this.observer.interrupted();
  }

  #leaveRunner(): void {
    if (this.hasStarted && this.#firstTokenAt === undefined) this.#readMs += performance.now() - this.#readingSince;
    // The next runner has a clock of its own, and reads everything before it goes on.
    this.#lastSampledAt = undefined;
    this.#lastTokenAt = undefined;
    this.#servedMs = this.servedMs;
    this.#takenAt = undefined;
    this.#since = performance.now();
  }

  end(ended: EndedEvent): void {
    if (ended.outcome === "finished") {
      this.observer.finished(ended.reason, this.usage, this.#timings());
    } else {
      this.observer.failed(new LlamapodError(ended.code, ended.message, ended.param === undefined ? {} : { param: ended.param }));
    }
  }

  #timings(): Timings {
    const startedAt = this.#startedAt ?? performance.now();
    const firstTokenAt = this.#firstTokenAt ?? startedAt;
    const decodeSeconds = this.#decodeMs / 1_000;
    return {
      queue_ms: Math.round(this.queueMs),
      load_ms: Math.round(this.#loadMs),
      prefill_ms: Math.round(this.prefillMs),
      ttft_ms: Math.round(firstTokenAt - this.acceptedAt),
      decode_tokens_per_second: decodeSeconds > 0 ? round(this.#decodedTokens / decodeSeconds) : 0,
      interruptions: this.#crashes + this.#parkings,
    };
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
