import { readFileSync } from "node:fs";
import { freemem, totalmem } from "node:os";
import type { Memory, VideoMemory } from "../../protocol/runner.ts";

export interface CapacitySettings {
  /** Main memory for all models together, in bytes, whatever the machine has. */
  readonly memoryBudget?: number | undefined;
  /** Main memory that stays free, in bytes. */
  readonly memoryReserve: number;
  /** Memory of each GPU that stays free, in bytes. */
  readonly gpuMemoryReserve: number;
}

/** What a runner without a model takes, in bytes: Node.js, the library, and an open backend. */
const spareBytes = 64 * 1024 * 1024;

/**
 * How much memory models may take, all together: what is free now, and what the runners hold already. A limit of the
 * control group, such as a container's, counts like the end of the machine.
 *
 * GPUs count together: llama.cpp spreads the layers of each model over all of them, by what is free on each. What does not
 * come out even, the work space and the driver's own part are for the reserve of each.
 */
export class Capacity {
  readonly #settings: CapacitySettings;
  #videoMemory = 0;
  #spareVideoMemory = 0;

  constructor(settings: CapacitySettings) {
    this.#settings = settings;
  }

  /**
   * @param held by our own models at the same time, in bytes
   * @param openRunners how many have opened the backend and have no model: what these take is free for one, as it is of main memory
   */
  sawVideoMemory({ gpus, free, perRunner }: VideoMemory, held: number, openRunners: number): void {
    this.#spareVideoMemory = perRunner;
    const reserve = gpus * this.#settings.gpuMemoryReserve;
    this.#videoMemory = Math.max(0, free + held + openRunners * perRunner - reserve);
  }

  /** What a runner without a model takes. */
  get spare(): Memory {
    return { ram: spareBytes, vram: this.#spareVideoMemory };
  }

  /**
   * @param runners process ids, those that stand by included: what these take is free for a model, which is loaded by one of
   * them or has it stopped
   */
  read(runners: readonly number[]): Memory {
    return { ram: this.#settings.memoryBudget ?? this.#mainMemory(runners), vram: this.#videoMemory };
  }

  #mainMemory(runners: readonly number[]): number {
    // Weights are mapped from their files and count as free; the rest of a runner does not, and would be free without it.
    const held = runners.reduce((sum, pid) => sum + anonymousBytes(pid), 0);
    const ofMachine = freemem() + held;
    const ofGroup = groupLimit() - process.memoryUsage.rss();
    return Math.max(0, Math.min(ofMachine, ofGroup) - this.#settings.memoryReserve);
  }
}

/** Node.js gives 0 or more than the machine has where there is no limit. */
function groupLimit(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** Memory of a process that is not mapped from a file; 0 where the system does not tell. */
function anonymousBytes(pid: number): number {
  try {
    const kibibytes = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
    return Number(kibibytes ?? 0) * 1_024;
  } catch {
    // It has just ended, or this is no Linux.
    return 0;
  }
}
