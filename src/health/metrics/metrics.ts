import { collectDefaultMetrics } from "prom-client";
import type { ErrorCode } from "../../protocol/errors.ts";
import { ConnectionMetrics } from "./connection-metrics.ts";
import * as buckets from "./buckets.ts";
import { watchEventLoop } from "./event-loop.ts";
import { plainText } from "./exposition.ts";
import { Instruments } from "./instruments.ts";
import { ModelLabels } from "./model-labels.ts";
import { ModelMetrics } from "./model-metrics.ts";
import { observePool, type PoolMeasurement } from "./pool-gauges.ts";
import { RequestMetrics } from "./request-metrics.ts";

/** Each model is worth hundreds of series. */
const mostModels = 50;

/**
 * Of prom-client's own: what it calls `_total` and is none, which Prometheus reserves for counters, and a measurement of the
 * event loop that every scrape resets.
 */
const misleadingDefaults = /^nodejs_(active_(handles|requests|resources)_total|eventloop_lag_.*)$/;

/** Which versions run. */
export interface Build {
  /** Of llamapod. */
  readonly version: string;
  readonly nodeLlamaCpp: string;
  readonly llamaCpp: string;
}

/** What is generated but not read, at the moment of a scrape. */
export interface StreamMeasurement {
  /** Generations under way that nobody reads. */
  readonly detached: number;
  /** What the logs of all generations take of memory. */
  readonly replayBytes: number;
}

/** How the operator's file of models was read the last time. */
export interface ReadingMeasurement {
  readonly isUsable: boolean;
  /** When what counts was read. */
  readonly succeededAtMs: number | undefined;
}

/** One part of what `/metrics` can be asked for. */
export type Exposition = "openmetrics" | "plain";

/**
 * The instruments, in one registry. Others tell them what happens; a scrape reads what is there and touches no runner. Label
 * values are closed sets: catalogue ids, and the constants of this code.
 */
export class Metrics {
  readonly requests: RequestMetrics;
  readonly models: ModelMetrics;
  readonly connections: ConnectionMetrics;
  readonly #make = new Instruments();
  readonly #models: ModelLabels;
  readonly #loopSeconds;
  readonly #stopWatching: () => void;
  #measurePool: (() => PoolMeasurement) | undefined;
  /** Of this scrape. */
  #pool: PoolMeasurement | undefined;

  constructor({ version, nodeLlamaCpp, llamaCpp }: Build) {
    const make = this.#make;
    collectDefaultMetrics({ register: make.registry });
    for (const { name } of make.registry.getMetricsAsArray()) {
      if (misleadingDefaults.test(name)) make.registry.removeSingleMetric(name);
    }
    const overflow = make.counter(
      "llamapod_metrics_label_overflow_total",
      `Observations of models beyond the first ${mostModels}, which are counted under _other.`,
    );
    this.#models = new ModelLabels(mostModels, () => {
      overflow.inc();
    });
    this.requests = new RequestMetrics(make, this.#models);
    this.models = new ModelMetrics(make, this.#models);
    this.connections = new ConnectionMetrics(make);
    this.#loopSeconds = make.histogram(
      "llamapod_event_loop_delay_seconds",
      "How late timers fire, in the server and in all runners.",
      buckets.eventLoop,
      "process",
    );
    const observeServer = this.#loopSeconds.labels({ process: "server" });
    this.#stopWatching = watchEventLoop((seconds) => {
      observeServer.observe(seconds);
    });
    make
      .gauge("llamapod_build_info", "Always 1; the labels say what is running.", "version", "node", "node_llama_cpp", "llama_cpp")
      .set({ version, node: process.version, node_llama_cpp: nodeLlamaCpp, llama_cpp: llamaCpp }, 1);
  }

  /** Every error that a client is told over HTTP, or of a message or a connection. */
  refused(code: ErrorCode): void {
    this.requests.refused(code);
    this.connections.refused(code);
  }

  /** Late timers of a runner, in seconds. */
  runnerLoopDelays(delays: readonly number[]): void {
    for (const delay of delays) this.#loopSeconds.observe({ process: "runner" }, delay);
  }

  observePool(measure: () => PoolMeasurement): void {
    this.#measurePool = () => (this.#pool ??= measure());
    observePool(this.#make, this.#models, this.#measurePool);
  }

  observeStreams(measure: () => StreamMeasurement): void {
    this.#make.measured("llamapod_stream_detached", "Generations under way that nobody reads.", [], (gauge) => {
      gauge.set(measure().detached);
    });
    this.#make.measured("llamapod_stream_replay_bytes", "Memory of all answers that can be resumed.", [], (gauge) => {
      gauge.set(measure().replayBytes);
    });
  }

  observeReadiness(isReady: () => boolean): void {
    this.#make.measured("llamapod_ready", "Whether requests for the active model are answered: 1 or 0.", [], (gauge) => {
      gauge.set(isReady() ? 1 : 0);
    });
  }

  observeModelsYaml(measure: () => ReadingMeasurement): void {
    const name = "llamapod_config_last_reload_successful";
    this.#make.measured(name, "Whether models.yaml could be used when it was last read: 1 or 0.", [], (gauge) => {
      gauge.set(measure().isUsable ? 1 : 0);
    });
    this.#make.measured(
      "llamapod_config_last_reload_success_timestamp_seconds",
      "When models.yaml was last read and could be used, in Unix time.",
      [],
      (gauge) => {
        const { succeededAtMs } = measure();
        if (succeededAtMs !== undefined) gauge.set(succeededAtMs / 1_000);
      },
    );
  }

  async scrape(exposition: Exposition): Promise<{ readonly contentType: string; readonly text: string }> {
    this.#pool = undefined;
    const pool = this.#measurePool?.();
    if (pool !== undefined) {
      await this.#forgetOthers(pool);
      for (const { modelId } of pool.models) {
        this.models.known(modelId);
        this.requests.known(modelId);
      }
    }
    const text = await this.#make.registry.metrics();
    if (exposition === "openmetrics") return { contentType: this.#make.registry.contentType, text };
    return { contentType: "text/plain; version=0.0.4; charset=utf-8", text: plainText(text) };
  }

  /** A model is gone when its file is, and nobody computes with it or waits for it. */
  async #forgetOthers({ models, runners, waiting }: PoolMeasurement): Promise<void> {
    const present = new Set([...models, ...runners, ...waiting].map(({ modelId }) => modelId));
    for (const modelId of this.#models.free(present)) await this.#make.forgetModel(modelId);
  }

  close(): void {
    this.#stopWatching();
  }
}
