import type { Counter } from "prom-client";
import * as buckets from "./buckets.ts";
import type { Instruments } from "./instruments.ts";
import type { ModelLabels } from "./model-labels.ts";

const evictionReasons = ["room", "idle", "requested"] as const;

/** How a model came to leave: to make room, for want of work, or because somebody asked. */
export type EvictionReason = (typeof evictionReasons)[number];

const exitReasons = ["requested", "refused", "crash", "signal", "memory", "silence"] as const;

/** Why a runner ended. */
export type ExitReason = (typeof exitReasons)[number];

const loadFailures = ["refused", "crashed", "memory"] as const;

/** Why a model was not loaded. */
export type LoadFailure = (typeof loadFailures)[number];

/** What became of a generation. */
export interface EndedWork {
  readonly promptTokens: number;
  readonly generatedTokens: number;
  /** Tokens that came after another one from the same runner, and how long they took. */
  readonly decodedTokens: number;
  readonly decodeSeconds: number;
}

/** What a runner tells of one model. Bound to its label once, because a token is told of here. */
export interface RunnerMetrics {
  /** A generation has got its slot. */
  started(queueSeconds: number, promptTokens: number, cachedTokens: number): void;
  /** It has got its first token. */
  prefilled(seconds: number): void;
  generated(tokens: number): void;
  /** Between two tokens, on the runner's own clock. */
  interToken(seconds: number): void;
  /** It has ended. */
  ended(work: EndedWork): void;
  /** Prompt tokens that have been computed. */
  read(tokens: number): void;
}

/** What the pool and its runners tell. */
export class ModelMetrics {
  readonly #models: ModelLabels;
  readonly #queueSeconds;
  readonly #prefillSeconds;
  readonly #decodeSeconds;
  readonly #interTokenSeconds;
  readonly #perTokenSeconds;
  readonly #promptSize;
  readonly #answerSize;
  readonly #promptTokens;
  readonly #cachedTokens;
  readonly #prefilledTokens;
  readonly #generatedTokens;
  readonly #loads;
  readonly #loadSeconds;
  readonly #loadPhaseSeconds;
  readonly #evictions;
  readonly #exits;
  readonly #restarts;
  readonly #switches;
  readonly #parked;

  constructor(make: Instruments, models: ModelLabels) {
    const histogram = (name: string, help: string, bounds: readonly number[]) => make.histogram(name, help, bounds, "model");
    const counter = (name: string, help: string): Counter<"model"> => make.counter(name, help, "model");
    this.#models = models;
    this.#queueSeconds = histogram("llamapod_request_queue_seconds", "From request to slot, loading excluded.", buckets.wait);
    this.#prefillSeconds = histogram(
      "llamapod_request_prefill_seconds",
      "From slot to first token, without what lies between two runners.",
      buckets.wait,
    );
    this.#decodeSeconds = histogram(
      "llamapod_request_decode_seconds",
      "From first to last token, without what lies between two runners.",
      buckets.wait,
    );
    this.#interTokenSeconds = histogram(
      "llamapod_inter_token_latency_seconds",
      "Between two tokens of one generation, measured in the runner.",
      buckets.interToken,
    );
    this.#perTokenSeconds = histogram(
      "llamapod_time_per_output_token_seconds",
      "Mean time between the tokens of a generation, one value for each.",
      buckets.interToken,
    );
    this.#promptSize = histogram("llamapod_request_prompt_tokens", "Tokens of a prompt.", buckets.tokens);
    this.#answerSize = histogram("llamapod_request_generation_tokens", "Tokens of an answer.", buckets.tokens);
    this.#promptTokens = counter("llamapod_prompt_tokens_total", "Tokens of prompts, reused ones included.");
    this.#cachedTokens = counter("llamapod_prompt_tokens_cached_total", "Tokens of prompts that a slot already held.");
    this.#prefilledTokens = counter("llamapod_prefill_tokens_total", "Tokens of prompts that were computed.");
    this.#generatedTokens = counter("llamapod_generation_tokens_total", "Tokens generated.");
    this.#loads = make.counter(
      "llamapod_model_loads_total",
      "Attempts to load a model, by outcome and what it failed of.",
      "model",
      "outcome",
      "cause",
    );
    this.#loadSeconds = histogram("llamapod_model_load_seconds", "From starting a runner to its first token.", buckets.load);
    this.#loadPhaseSeconds = make.histogram(
      "llamapod_model_load_phase_seconds",
      "The parts of a load: spawn the runner, load the weights, warm up.",
      buckets.load,
      "model",
      "phase",
    );
    this.#evictions = make.counter("llamapod_model_evictions_total", "Models that were unloaded, by why.", "model", "reason");
    this.#exits = make.counter(
      "llamapod_runner_exits_total",
      "Runners that ended, or gave their model up when asked to (requested), by why.",
      "model",
      "reason",
    );
    this.#restarts = counter("llamapod_runner_restarts_total", "Runners that died while serving, and were replaced.");
    this.#switches = make.counter("llamapod_model_switches_total", "Switches of the active model, by outcome.", "outcome");
    this.#parked = counter(
      "llamapod_generations_parked_total",
      "Generations that were stopped to make room for another model, and go on later.",
    );
    for (const outcome of ["ok", "failed"] as const) this.#switches.inc({ outcome }, 0);
  }

  /** It may be loaded. A counter that is there before it counts for the first time has a rate when it does. */
  known(modelId: string): void {
    const model = this.#models.at(modelId);
    this.#loads.inc({ model, outcome: "ok", cause: "none" }, 0);
    for (const cause of loadFailures) this.#loads.inc({ model, outcome: "failed", cause }, 0);
  }

  /** The instruments of one model's runner. */
  runner(modelId: string): RunnerMetrics {
    const labels = { model: this.#models.of(modelId) };
    for (const reason of exitReasons) this.#exits.inc({ ...labels, reason }, 0);
    for (const reason of evictionReasons) this.#evictions.inc({ ...labels, reason }, 0);
    this.#restarts.inc(labels, 0);
    this.#parked.inc(labels, 0);
    const queue = this.#queueSeconds.labels(labels);
    const prefill = this.#prefillSeconds.labels(labels);
    const decode = this.#decodeSeconds.labels(labels);
    const interToken = this.#interTokenSeconds.labels(labels);
    const perToken = this.#perTokenSeconds.labels(labels);
    const promptSize = this.#promptSize.labels(labels);
    const answerSize = this.#answerSize.labels(labels);
    const promptTokens = this.#promptTokens.labels(labels);
    const cachedTokens = this.#cachedTokens.labels(labels);
    const prefilledTokens = this.#prefilledTokens.labels(labels);
    const generatedTokens = this.#generatedTokens.labels(labels);
    return {
      started: (queueSeconds, prompt, cached) => {
        queue.observe(queueSeconds);
        promptTokens.inc(prompt);
        cachedTokens.inc(cached);
      },
      prefilled: (seconds) => {
        prefill.observe(seconds);
      },
      generated: (tokens) => {
        generatedTokens.inc(tokens);
      },
      interToken: (seconds) => {
        interToken.observe(seconds);
      },
      ended: (work) => {
        promptSize.observe(work.promptTokens);
        answerSize.observe(work.generatedTokens);
        if (work.decodedTokens === 0) return;
        decode.observe(work.decodeSeconds);
        perToken.observe(work.decodeSeconds / work.decodedTokens);
      },
      read: (tokens) => {
        prefilledTokens.inc(tokens);
      },
    };
  }

  loaded(modelId: string, seconds: number): void {
    const model = this.#models.of(modelId);
    this.#loads.inc({ model, outcome: "ok", cause: "none" });
    this.#loadSeconds.observe({ model }, seconds);
  }

  loadPhase(modelId: string, phase: "spawn" | "weights" | "warmup", seconds: number): void {
    this.#loadPhaseSeconds.observe({ model: this.#models.of(modelId), phase }, seconds);
  }

  notLoaded(modelId: string, cause: LoadFailure): void {
    this.#loads.inc({ model: this.#models.of(modelId), outcome: "failed", cause });
  }

  evicted(modelId: string, reason: EvictionReason): void {
    this.#evictions.inc({ model: this.#models.of(modelId), reason });
  }

  runnerExited(modelId: string, reason: ExitReason, wasServing: boolean): void {
    const model = this.#models.of(modelId);
    this.#exits.inc({ model, reason });
    if (wasServing && reason !== "requested") this.#restarts.inc({ model });
  }

  switched(outcome: "ok" | "failed"): void {
    this.#switches.inc({ outcome });
  }

  parked(modelId: string): void {
    this.#parked.inc({ model: this.#models.of(modelId) });
  }
}
