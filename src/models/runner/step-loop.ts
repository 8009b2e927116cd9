import { LlamapodError, toLlamapodError } from "../../protocol/errors.ts";
import type { Sampling } from "../../protocol/request.ts";
import type { EndedEvent, GenerateCommand, LogEvent, SlotStatistics, StepEvent } from "../../protocol/runner.ts";
import type { ChatFormat } from "./chat-formats.ts";
import type { BatchEntry, Computed, Engine } from "./engine.ts";
import { Generation, promptTokens } from "./generation.ts";
import { answerGrammar } from "./answer-grammar.ts";
import { PrefillPace, planPrefill, prefillKind } from "./prefill.ts";
import type { PromptBuilder } from "./prompt.ts";
import type { Sampler } from "./sampler.ts";
import { chooseSlot, Slot } from "./slots.ts";
import { ThreadGovernor } from "./thread-governor.ts";

/** Prompt tokens in a batch from which on the cost per token says something. */
const comparablePrefill = 16;

/** What costs about the same, for the thread governors. */
const decodeKind = (slots: number): string => `decode ${slots}`;

/** How long warming up goes on, at least one batch of each kind, in milliseconds. */
const warmUpMs = 50;

/** How long waiting prompts are turned into tokens between two batches, in milliseconds. */
const admissionMs = 5;

/** A prompt that is being turned into tokens, part by part. */
interface Reading {
  readonly command: GenerateCommand;
  readonly prompt: Generator<undefined, Uint32Array>;
}

/** What the first token is warmed up with: the likeliest one. */
const plainSampling: Sampling = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  seed: 0,
  repeatPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
};

/**
 * Drives llama.cpp step by step: one decode batch with a token of every slot that is answering, in ascending order, then
 * one bounded batch of prompt tokens for the slots that are still reading, and so on. One message is sent per batch, while
 * the next one is computed: sending takes up to half a millisecond, in which the processor need not wait.
 *
 * Nothing in a step depends on how long a sequence has grown. A cancellation takes effect before the next batch.
 */
export class StepLoop {
  readonly #engine: Engine;
  readonly #prompts: PromptBuilder;
  readonly #format: ChatFormat;
  readonly #send: (event: StepEvent | LogEvent) => void;
  readonly #slots: readonly Slot[];
  readonly #batchSize: number;
  readonly #pace: PrefillPace;
  readonly #decodeThreads: ThreadGovernor;
  readonly #prefillThreads: ThreadGovernor;
  /** In order of arrival. */
  readonly #generations = new Map<string, Generation>();
  #waiting: GenerateCommand[] = [];
  #reading: Reading | undefined;
  #cancelled = new Set<string>();
  #step: StepEvent = emptyStep();
  #releases = 0;
  /** Whether the prompt that has waited longest has the next batch that is too small to be shared. */
  #isTurnOfOldest = false;
  #wake: (() => void) | undefined;
  #stopping = false;

  constructor(
    engine: Engine,
    prompts: PromptBuilder,
    format: ChatFormat,
    batchSize: number,
    send: (event: StepEvent | LogEvent) => void,
  ) {
    this.#engine = engine;
    this.#prompts = prompts;
    this.#format = format;
    this.#send = send;
    this.#slots = Array.from({ length: engine.info.slots }, (_, id) => new Slot(id, engine.info.contextSize));
    this.#batchSize = batchSize;
    this.#pace = new PrefillPace(batchSize);
    const { backend, threads } = engine.info;
    // A GPU leaves these threads next to nothing to do.
    const mostThreads = backend === "cpu" ? threads : 1;
    this.#decodeThreads = new ThreadGovernor(mostThreads);
    this.#prefillThreads = new ThreadGovernor(mostThreads);
  }

  get statistics(): SlotStatistics {
    return {
      busySlots: this.#generations.size,
      cachedTokens: this.#slots.reduce((sum, slot) => sum + slot.length, 0),
    };
  }

  generate(command: GenerateCommand): void {
    this.#waiting.push(command);
    this.#wake?.();
  }

  cancel(id: string): void {
    this.#cancelled.add(id);
    this.#wake?.();
  }

  /** Lets `run` return after the current batch. */
  stop(): void {
    this.#stopping = true;
    this.#wake?.();
  }

  /**
   * Computes a little of both kinds, so that the first request finds the weights in memory and the number of threads
   * settled, and a model that cannot compute fails now.
   */
  async warmUp(): Promise<void> {
    const deadline = performance.now() + warmUpMs;
    const [slot] = this.#slots;
    if (slot === undefined) return;
    const token = this.#engine.beginToken ?? this.#engine.endToken ?? 0;
    const prompt = new Uint32Array(Math.min(comparablePrefill, this.#batchSize)).fill(token);
    const sampler = this.#engine.createSampler(plainSampling);
    const compute = async (tokens: Uint32Array, threads: number): Promise<number> => {
      const { elapsedMs } = await this.#engine.compute([{ slot: slot.id, position: 0, tokens, sampler }], threads);
      this.#engine.truncate(slot.id, 0);
      return elapsedMs;
    };
    do {
      const prefill = prefillKind(prompt.length);
      const prefillMs = await compute(prompt, this.#prefillThreads.threadsFor(prefill));
      this.#prefillThreads.observe(prefill, prefillMs / prompt.length, performance.now());
      const decodeMs = await compute(prompt.subarray(0, 1), this.#decodeThreads.threadsFor(decodeKind(1)));
      this.#decodeThreads.observe(decodeKind(1), decodeMs, performance.now());
    } while (performance.now() < deadline);
    sampler.dispose();
  }

  /** @throws {Error} when llama.cpp fails in the middle of a batch; nothing can be trusted afterwards */
  async run(): Promise<void> {
    while (!this.#stopping) {
      this.#applyCancellations();
      // Reading prompts takes longer than sending what is ready.
      if (this.#waiting.length > 0) this.#flush();
      this.#admit();
      if (this.#generations.size === 0) {
        this.#flush();
        await this.#idle();
        continue;
      }
      await this.#decode();
      this.#applyCancellations();
      await this.#prefill();
    }
    this.#flush();
    for (const { sampler } of this.#generations.values()) sampler.dispose();
  }

  async #idle(): Promise<void> {
    if (this.#stopping || this.#waiting.length > 0 || this.#cancelled.size > 0) {
      // Messages and heartbeats come through in between.
      await new Promise((resolve) => setImmediate(resolve));
      return;
    }
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }

  #applyCancellations(): void {
    for (const id of this.#cancelled) {
      const generation = this.#generations.get(id);
      if (generation !== undefined) {
        this.#step.outputs.push({ id, tokens: [], text: generation.cut() });
        this.#end(generation, { outcome: "finished", id, reason: "cancelled" });
      } else if (this.#waiting.some((command) => command.id === id)) {
        this.#step.ended.push({ outcome: "finished", id, reason: "cancelled" });
      }
    }
    this.#waiting = this.#waiting.filter((command) => !this.#cancelled.has(command.id));
    this.#cancelled = new Set();
  }

  /** Reads waiting prompts into slots, for as long as the answers that are under way can spare. */
  #admit(): void {
    const deadline = performance.now() + admissionMs;
    do {
      const [command] = this.#waiting;
      if (command === undefined || this.#slots.every((slot) => slot.busy)) return;
      try {
        this.#reading = this.#reading?.command === command ? this.#reading : this.#read(command);
        const { done, value } = this.#reading.prompt.next();
        if (done !== true) continue;
        this.#isRead(command);
        this.#start(command, value);
      } catch (thrown) {
        this.#isRead(command);
        const { code, message, param } = toLlamapodError(thrown);
        this.#step.ended.push({ outcome: "failed", id: command.id, code, message, param });
        if (!(thrown instanceof LlamapodError)) throw thrown;
      }
    } while (performance.now() < deadline);
  }

  #isRead(command: GenerateCommand): void {
    this.#waiting = this.#waiting.filter((other) => other !== command);
    this.#reading = undefined;
  }

  #read(command: GenerateCommand): Reading {
    return { command, prompt: promptTokens(command, this.#prompts, this.#engine.info.contextSize) };
  }

  #start(command: GenerateCommand, prompt: Uint32Array): void {
    const choice = chooseSlot(this.#slots, command.cacheScope, prompt);
    if (choice === undefined) throw new LlamapodError("overloaded", "Every slot is busy.");
    const { slot, commonPrefix } = choice;
    const sampler = this.#samplerFor(command);
    // At least one token has to be computed: its logits choose the first token of the answer.
    slot.truncate(this.#engine.truncate(slot.id, Math.min(commonPrefix, prompt.length - 1)));
    slot.scope = command.cacheScope;
    slot.busy = true;
    this.#generations.set(command.id, new Generation(command, prompt, slot, sampler, this.#engine, this.#format));
    this.#step.started.push({
      id: command.id,
      slot: slot.id,
      promptTokens: prompt.length - command.generated.length,
      cachedTokens: slot.length,
    });
    this.#tell(command.requestId, `slot ${slot.id} holds ${slot.length} of the prompt's ${prompt.length} tokens`);
  }

  #samplerFor(command: GenerateCommand): Sampler {
    const grammar = answerGrammar(command, this.#prompts.toolDialect);
    if (grammar === undefined) return this.#engine.createSampler(command.sampling);
    return this.#engine.createGrammarSampler(command.sampling, grammar, command.generated);
  }

  async #decode(): Promise<void> {
    const batch: BatchEntry[] = [];
    const answering: Generation[] = [];
    for (const generation of this.#inSlotOrder()) {
      if (generation.phase.name !== "decode") continue;
      const tokens = Uint32Array.of(generation.phase.next);
      batch.push({ slot: generation.slot.id, position: generation.slot.length, tokens, sampler: generation.sampler });
      answering.push(generation);
    }
    if (batch.length === 0) return;
    const kind = decodeKind(batch.length);
    const elapsedMs = await this.#compute(batch, answering, this.#decodeThreads.threadsFor(kind));
    this.#decodeThreads.observe(kind, elapsedMs, performance.now());
  }

  async #prefill(): Promise<void> {
    const reading = [...this.#generations.values()].filter((generation) => generation.phase.name === "prefill");
    if (reading.length === 0) return;
    const budget = this.#pace.budget(reading.length, this.#generations.size - reading.length);
    this.#isTurnOfOldest = !this.#isTurnOfOldest;
    const chunks = planPrefill(
      reading.map(({ slot, remainingPrompt }) => ({ slot: slot.id, remaining: remainingPrompt })),
      budget,
      this.#isTurnOfOldest,
    );
    const batch: BatchEntry[] = [];
    const owners: Generation[] = [];
    for (const { slot, take } of chunks) {
      const generation = reading.find((candidate) => candidate.slot.id === slot);
      if (generation === undefined) continue;
      const position = generation.slot.length;
      const tokens = generation.prompt.subarray(position, position + take);
      batch.push({ slot, position, tokens, sampler: take === generation.remainingPrompt ? generation.sampler : undefined });
      owners.push(generation);
    }
    const tokens = batch.reduce((sum, entry) => sum + entry.tokens.length, 0);
    const kind = prefillKind(tokens);
    const elapsedMs = await this.#compute(batch, owners, this.#prefillThreads.threadsFor(kind));
    this.#step.prefilled += tokens;
    this.#pace.observe(tokens, Math.max(...chunks.map(({ take }) => take)), elapsedMs);
    if (tokens >= comparablePrefill) this.#prefillThreads.observe(kind, elapsedMs / tokens, performance.now());
  }

  /**
   * Runs one batch, sends in the meantime what came of the one before, and takes the token of every entry that wants one.
   *
   * @returns how long the batch took, in milliseconds
   */
  async #compute(batch: readonly BatchEntry[], owners: readonly Generation[], threads: number): Promise<number> {
    for (const [index, { tokens, sampler }] of batch.entries()) {
      const slot = owners[index]?.slot;
      if (slot === undefined) continue;
      slot.append(tokens);
      sampler?.observe(slot.tokens);
    }
    const computing = this.#engine.compute(batch, threads);
    let computed: Computed;
    try {
      this.#flush();
    } finally {
      computed = await computing;
    }
    const { tokens, elapsedMs } = computed;
    for (const [index, generation] of owners.entries()) {
      const token = tokens[index];
      if (token !== undefined) this.#accept(generation, token);
    }
    this.#step.at = performance.now();
    return elapsedMs;
  }

  #accept(generation: Generation, token: number): void {
    const { id } = generation;
    const { text, counted, ending } = generation.accept(token);
    this.#step.outputs.push({ id, tokens: counted ? [token] : [], text });
    if (ending !== undefined) this.#end(generation, { outcome: "finished", id, reason: ending });
  }

  #end(generation: Generation, ended: EndedEvent): void {
    this.#step.ended.push(ended);
    this.#generations.delete(generation.id);
    const how = ended.outcome === "finished" ? ended.reason : ended.code;
    this.#tell(generation.requestId, `slot ${generation.slot.id} is free after ${generation.slot.length} tokens: ${how}`);
    generation.sampler.dispose();
    generation.slot.busy = false;
    generation.slot.lastUsed = ++this.#releases;
  }

  #tell(requestId: string, message: string): void {
    this.#send({ type: "log", source: "runner", level: "debug", requestId, message });
  }

  #inSlotOrder(): Generation[] {
    return [...this.#generations.values()].sort((a, b) => a.slot.id - b.slot.id);
  }

  #flush(): void {
    const { prefilled, started, outputs, ended } = this.#step;
    if (prefilled + started.length + outputs.length + ended.length === 0) return;
    this.#send(this.#step);
    this.#step = emptyStep();
  }
}

function emptyStep(): StepEvent {
  return { type: "step", at: performance.now(), prefilled: 0, started: [], outputs: [], ended: [] };
}
