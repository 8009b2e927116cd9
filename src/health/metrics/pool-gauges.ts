import type { Memory, VideoMemory } from "../../protocol/runner.ts";
import { modelState, type ModelState } from "../../protocol/stream.ts";
import type { Instruments } from "./instruments.ts";
import type { ModelLabels } from "./model-labels.ts";

/** What the pool knows at the moment of a scrape. */
export interface PoolMeasurement {
  /** Each waiting job: its model, and what it waits for. */
  readonly waiting: readonly { readonly modelId: string; readonly reason: "slot" | "loading" | "memory" }[];
  readonly queueLimit: number;
  readonly models: readonly { readonly modelId: string; readonly state: ModelState; readonly estimate: Memory | undefined }[];
  readonly runners: readonly {
    readonly modelId: string;
    readonly runningJobs: number;
    readonly slots: number;
    readonly busySlots: number;
    /** What computes it, once it is loaded. */
    readonly backend: string | undefined;
    /** Tokens in the KV cache, and how many would fit. */
    readonly cachedTokens: number;
    readonly contextTokens: number;
    readonly memory: Memory;
  }[];
  /** What all models together may take. */
  readonly capacity: Memory;
  /** A GPU is to compute: it was demanded, or one is there. */
  readonly isGpuExpected: boolean;
  /** As they were seen last: what other programs take is not free. */
  readonly gpus: VideoMemory;
}

type RunnerMeasurement = PoolMeasurement["runners"][number];

/** Gauges of the pool, read at every scrape. Reading them loads nothing. */
export function observePool(make: Instruments, models: ModelLabels, measure: () => PoolMeasurement): void {
  make.measured("llamapod_requests_waiting", "Generations that wait for a slot, by why.", ["model", "reason"], (gauge) => {
    const { runners, waiting } = measure();
    for (const { modelId } of runners) {
      for (const reason of ["slot", "loading", "memory"]) gauge.set({ model: models.at(modelId), reason }, 0);
    }
    for (const { modelId, reason } of waiting) gauge.inc({ model: models.at(modelId), reason });
  });
  make.measured("llamapod_queue_depth", "Generations that wait, of all models.", [], (gauge) => {
    gauge.set(measure().waiting.length);
  });
  make.measured("llamapod_queue_limit", "Generations that may wait, of all models.", [], (gauge) => {
    gauge.set(measure().queueLimit);
  });
  make.measured("llamapod_model_state", "1 for the state that a model is in, else 0.", ["model", "state"], (gauge) => {
    for (const { modelId, state } of measure().models) {
      const model = models.at(modelId);
      for (const candidate of modelState.options) gauge.inc({ model, state: candidate }, candidate === state ? 1 : 0);
    }
  });
  make.measured(
    "llamapod_model_memory_estimated_bytes",
    "Memory that a model is expected to take, main memory (ram) and GPU memory (vram).",
    ["model", "where"],
    (gauge) => {
      for (const { modelId, estimate } of measure().models) {
        if (estimate === undefined) continue;
        const model = models.at(modelId);
        gauge.inc({ model, where: "ram" }, estimate.ram);
        gauge.inc({ model, where: "vram" }, estimate.vram);
      }
    },
  );
  make.measured(
    "llamapod_model_info",
    "1 for each loaded model; the label says what computes it: cpu, cuda.",
    ["model", "backend"],
    (gauge) => {
      for (const { modelId, backend } of measure().runners) {
        if (backend !== undefined) gauge.set({ model: models.at(modelId), backend }, 1);
      }
    },
  );
  const perRunner = (name: string, help: string, value: (runner: RunnerMeasurement) => number) => {
    make.measured(name, help, ["model"], (gauge) => {
      for (const runner of measure().runners) gauge.inc({ model: models.at(runner.modelId) }, value(runner));
    });
  };
  perRunner("llamapod_requests_running", "Generations that hold a slot.", ({ runningJobs }) => runningJobs);
  perRunner("llamapod_slots", "Slots of a loaded model.", ({ slots }) => slots);
  perRunner("llamapod_slots_busy", "Slots that the runner works on.", ({ busySlots }) => busySlots);
  perRunner(
    "llamapod_kv_cache_used_ratio",
    "Share of the KV cache that holds tokens, those kept for reuse included.",
    ({ cachedTokens, contextTokens }) => (contextTokens === 0 ? 0 : cachedTokens / contextTokens),
  );
  perRunner("llamapod_model_memory_bytes", "Main memory that a loaded model takes.", ({ memory }) => memory.ram);
  perRunner("llamapod_model_video_memory_bytes", "GPU memory that a loaded model takes.", ({ memory }) => memory.vram);
  make.measured(
    "llamapod_memory_capacity_bytes",
    "Memory that all models together may take, main memory (ram) and GPU memory (vram).",
    ["kind"],
    (gauge) => {
      const { capacity } = measure();
      gauge.set({ kind: "ram" }, capacity.ram);
      gauge.set({ kind: "vram" }, capacity.vram);
    },
  );
  make.measured(
    "llamapod_gpu_expected",
    "Whether a GPU is to compute, as one is demanded, or there is one and the configuration allows it: 1 or 0.",
    [],
    (gauge) => {
      gauge.set(measure().isGpuExpected ? 1 : 0);
    },
  );
  make.measured("llamapod_gpus", "GPUs that runners can compute on.", [], (gauge) => {
    gauge.set(measure().gpus.gpus);
  });
  make.measured("llamapod_gpu_memory_free_bytes", "Memory of all GPUs that no program takes.", [], (gauge) => {
    gauge.set(measure().gpus.free);
  });
  make.measured("llamapod_gpu_active", "Whether a GPU computes any loaded model: 1 or 0.", [], (gauge) => {
    gauge.set(measure().runners.some(({ backend }) => backend !== undefined && backend !== "cpu") ? 1 : 0);
  });
}
