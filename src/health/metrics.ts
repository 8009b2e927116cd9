import type { Memory } from "../protocol/runner.ts";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

/** What the pool knows at the moment of a scrape. */
export interface PoolMeasurement {
  /** The model of each waiting job. */
  readonly waiting: readonly string[];
  readonly running: readonly {
    readonly modelId: string;
    readonly runningJobs: number;
    readonly slots: number;
    /** What computes it, once it is loaded. */
    readonly backend: string | undefined;
    /** Tokens in the KV cache, and how many would fit. */
    readonly cachedTokens: number;
    readonly contextTokens: number;
    readonly memory: Memory;
  }[];
  /** What all models together may take. */
  readonly capacity: Memory;
}

/** Bounds in seconds of everything that a person waits for. */
const waitBuckets = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300];
const firstTokenBuckets = [0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160];
const interTokenBuckets = [
  0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5,
];
const loadBuckets = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 600];

/** prom-client calls these gauges `_total`, which Prometheus reserves for counters. */
const misnamedDefaults = ["nodejs_active_handles_total", "nodejs_active_requests_total", "nodejs_active_resources_total"];

/**
 * The instruments. Others observe into them; a scrape reads what is there and touches no runner. Label values are
 * closed sets: catalogue ids, and the constants of this code.
 */
export class Metrics {
  readonly #registry = new Registry();

  readonly requests = new Counter({
    name: "llamapod_requests_total",
    help: "Generations by how they ended.",
    labelNames: ["model", "endpoint", "transport", "outcome"] as const,
    registers: [this.#registry],
  });
  readonly requestErrors = new Counter({
    name: "llamapod_request_errors_total",
    help: "Generations that ended in an error, by its code.",
    labelNames: ["model", "code"] as const,
    registers: [this.#registry],
  });
  readonly requestSeconds = this.#histogram("llamapod_request_duration_seconds", "From request to last token.", waitBuckets);
  readonly queueSeconds = this.#histogram(
    "llamapod_request_queue_seconds",
    "From request to slot, loading excluded.",
    waitBuckets,
  );
  readonly prefillSeconds = this.#histogram("llamapod_request_prefill_seconds", "From slot to first token.", waitBuckets);
  readonly firstTokenSeconds = this.#histogram(
    "llamapod_time_to_first_token_seconds",
    "From request to first token.",
    firstTokenBuckets,
  );
  readonly interTokenSeconds = this.#histogram(
    "llamapod_inter_token_latency_seconds",
    "Between two tokens of one generation, measured in the runner.",
    interTokenBuckets,
  );
  readonly modelLoadSeconds = this.#histogram(
    "llamapod_model_load_seconds",
    "From starting a runner to its first token.",
    loadBuckets,
  );
  readonly promptTokens = this.#counter("llamapod_prompt_tokens_total", "Tokens of prompts, reused ones included.");
  readonly cachedTokens = this.#counter("llamapod_prompt_tokens_cached_total", "Tokens of prompts that a slot already held.");
  readonly generatedTokens = this.#counter("llamapod_generation_tokens_total", "Tokens generated.");
  readonly modelLoads = new Counter({
    name: "llamapod_model_loads_total",
    help: "Attempts to load a model, by outcome.",
    labelNames: ["model", "outcome"] as const,
    registers: [this.#registry],
  });
  readonly runnerRestarts = this.#counter(
    "llamapod_runner_restarts_total",
    "Runners that died while serving, and were replaced.",
  );
  readonly switches = new Counter({
    name: "llamapod_model_switches_total",
    help: "Switches of the active model, by outcome.",
    labelNames: ["outcome"] as const,
    registers: [this.#registry],
  });
  readonly parked = this.#counter(
    "llamapod_generations_parked_total",
    "Generations that were stopped to make room for another model, and go on later.",
  );
  readonly connections = new Gauge({
    name: "llamapod_ws_connections",
    help: "Open WebSocket connections.",
    registers: [this.#registry],
  });
  readonly ready = new Gauge({
    name: "llamapod_ready",
    help: "Whether requests for the active model are answered: 1 or 0.",
    registers: [this.#registry],
  });

  constructor(version: string) {
    collectDefaultMetrics({ register: this.#registry });
    for (const name of misnamedDefaults) this.#registry.removeSingleMetric(name);
    new Gauge({
      name: "llamapod_build_info",
      help: "Always 1; the labels say what is running.",
      labelNames: ["version", "node"] as const,
      registers: [this.#registry],
    }).set({ version, node: process.version }, 1);
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** @param measure asked at every scrape for what changes too often to be told */
  observeModels(measure: () => PoolMeasurement): void {
    const gauge = (name: string, help: string, read: (gauge: Gauge<"model">, now: PoolMeasurement) => void) => {
      new Gauge({
        name,
        help,
        labelNames: ["model"] as const,
        registers: [this.#registry],
        collect() {
          this.reset();
          read(this, measure());
        },
      });
    };
    gauge("llamapod_requests_waiting", "Generations that wait for a slot.", (target, { waiting }) => {
      for (const model of waiting) target.inc({ model });
    });
    new Gauge({
      name: "llamapod_model_info",
      help: "1 for each loaded model; the label says what computes it: cpu, cuda.",
      labelNames: ["model", "backend"] as const,
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const { modelId, backend } of measure().running) {
          if (backend !== undefined) this.set({ model: modelId, backend }, 1);
        }
      },
    });
    const perRunner = (name: string, help: string, value: (runner: PoolMeasurement["running"][number]) => number) => {
      gauge(name, help, (target, { running }) => {
        for (const runner of running) target.set({ model: runner.modelId }, value(runner));
      });
    };
    perRunner("llamapod_requests_running", "Generations that hold a slot.", (runner) => runner.runningJobs);
    perRunner("llamapod_slots", "Slots of a loaded model.", (runner) => runner.slots);
    perRunner(
      "llamapod_kv_cache_usage_ratio",
      "Share of the KV cache that holds tokens, those kept for reuse included.",
      (runner) => (runner.contextTokens === 0 ? 0 : runner.cachedTokens / runner.contextTokens),
    );
    perRunner("llamapod_model_memory_bytes", "Main memory that a loaded model takes.", ({ memory }) => memory.ram);
    perRunner("llamapod_model_video_memory_bytes", "GPU memory that a loaded model takes.", ({ memory }) => memory.vram);
    new Gauge({
      name: "llamapod_memory_capacity_bytes",
      help: "Memory that all models together may take, main memory (ram) and GPU memory (vram).",
      labelNames: ["kind"] as const,
      registers: [this.#registry],
      collect() {
        const { capacity } = measure();
        this.set({ kind: "ram" }, capacity.ram);
        this.set({ kind: "vram" }, capacity.vram);
      },
    });
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram<"model"> {
    return new Histogram({ name, help, buckets, labelNames: ["model"] as const, registers: [this.#registry] });
  }

  #counter(name: string, help: string): Counter<"model"> {
    return new Counter({ name, help, labelNames: ["model"] as const, registers: [this.#registry] });
  }
}
