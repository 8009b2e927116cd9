import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { probeVariable } from "./heap-probe.ts";
import { sample, scrape } from "./metrics.ts";
import { residentMemory } from "./runner-memory.ts";
import { childrenOf, residentBytes, runnersOf, ServerProcess, until } from "./processes.ts";

/** How much more than before memory may be, as a share of it: after minutes, and after seconds, when more of it is chance. */
export const tolerated = { long: 0.05, short: 0.15 } as const;

/** V8 gives pages back from another thread, some time after it has collected garbage. */
const collections = 10;

export interface Taken {
  /** Of the server, resident, when its garbage has been collected. */
  readonly bytes: number;
  /** Of these, on the heap and in use: told, not held to anything, as compiled code is among it, of which there is more for minutes. */
  readonly heapBytes: number;
  /** Of its runners, what is not mapped from files. */
  readonly runnerBytes: number;
  /** Without those of connections that its clients hold open, as those of HTTP do for some seconds. */
  readonly descriptors: number;
  /** Its children, also those that have ended and were not waited for. */
  readonly processes: number;
}

/** A server whose garbage can be collected, which tells what it holds from what it has not got round to giving back. */
export class MeasuredServer implements AsyncDisposable {
  readonly process: ServerProcess;
  readonly #folder: string;

  private constructor(process: ServerProcess, folder: string) {
    this.process = process;
    this.#folder = folder;
  }

  static async start(flags: readonly string[]): Promise<MeasuredServer> {
    const folder = await mkdtemp(join(tmpdir(), "llamapod-probe-"));
    const probe = new URL("./heap-probe.js", import.meta.url).href;
    const environment = {
      [probeVariable]: join(folder, "probe"),
      // V8 lets its young generation grow for minutes, and the allocator keeps what it took meanwhile: neither is a leak.
      NODE_OPTIONS: `--import=${probe} --max-semi-space-size=2`,
      MALLOC_ARENA_MAX: "1",
      MALLOC_TRIM_THRESHOLD_: "65536",
      MALLOC_MMAP_THRESHOLD_: "65536",
    };
    return new MeasuredServer(await ServerProcess.start(flags, [], environment), folder);
  }

  /** What it takes when it has that many runners, nobody asks, and no log of an answer is kept any more. */
  async atRest(runners: number): Promise<Taken> {
    const { url, pid } = this.process;
    await until(async () => sample(await scrape(url), "llamapod_stream_replay_bytes") === 0);
    await until(async () => runnersOf(pid).length === runners && (await fetch(`${url}/health/ready`)).ok);
    let heapBytes = Infinity;
    let bytes = Infinity;
    for (let round = 0; round < collections; round++) {
      heapBytes = Math.min(heapBytes, Number(await text(connect(join(this.#folder, "probe")))));
      bytes = Math.min(bytes, residentBytes(pid));
    }
    const memories = await Promise.all(runnersOf(pid).map((runner) => residentMemory(runner)));
    return {
      bytes,
      heapBytes,
      runnerBytes: memories.reduce((sum, { own }) => sum + own, 0),
      descriptors: descriptorsOf(pid),
      processes: childrenOf(pid),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true });
  }
}

/** @param share how much more than before it may be */
export function assertAbout(memory: "bytes" | "runnerBytes", before: Taken, after: Taken, share: number): void {
  const more = after[memory] / before[memory] - 1;
  assert.ok(more <= share, `${memory}: ${before[memory]} to ${after[memory]}, ${(more * 100).toFixed(1)} % more`);
}

export function assertNoneLeft(before: Taken, after: Taken): void {
  assert.deepEqual([after.descriptors, after.processes], [before.descriptors, before.processes], "descriptors and processes");
}

function descriptorsOf(pid: number): number {
  const folder = `/proc/${pid}/fd`;
  const targets = readdirSync(folder).flatMap((name) => {
    try {
      return readlinkSync(`${folder}/${name}`);
    } catch {
      // It was closed meanwhile.
      return [];
    }
  });
  const established = new Set(
    readFileSync(`/proc/${pid}/net/tcp`, "latin1")
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .flatMap((columns) => (columns[3] === "01" ? `socket:[${columns[9] ?? ""}]` : [])),
  );
  return targets.filter((target) => !established.has(target)).length;
}
