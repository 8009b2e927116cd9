import { fork, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Logger } from "pino";
import type { ExitReason } from "../health/metrics/model-metrics.ts";
import {
  runnerEvent,
  type EstimateCommand,
  type HeartbeatEvent,
  type LoadCommand,
  type Memory,
  type PrepareCommand,
  type RunnerCommand,
  type SlotStatistics,
  type StepEvent,
  type VideoMemory,
} from "../protocol/runner.ts";
import { hasGpuDevice, isGpuExpected } from "./gpu.ts";
import { hasEnded, isLeaving, transition, type RunnerState } from "./runner-state.ts";

export interface RunnerObserver {
  stateChanged(runner: RunnerProcess): void;
  stepped(runner: RunnerProcess, step: StepEvent): void;
  beat(runner: RunnerProcess, heartbeat: HeartbeatEvent): void;
  sawVideoMemory(runner: RunnerProcess, seen: VideoMemory): void;
}

const program = fileURLToPath(new URL("./runner/main.js", import.meta.url));

/** A template that eats memory must end the runner, not the machine. The weights are not on this heap. */
const heapMegabytes = 768;

/** How long a runner may say nothing before it is held to have hung, in milliseconds. */
export interface SilenceLimits {
  readonly loading: number;
  readonly serving: number;
  /** How long it may say only that it lives, and get no further with a load. */
  readonly stuck: number;
  /** The same with an estimate, which reads nothing but the start of the file. */
  readonly estimating: number;
  /** How long it may say only that it computes one and the same batch. */
  readonly computing: number;
}

/**
 * Loading a driver can keep the event loop busy for a while, a full batch of a large model a slow processor for tens of
 * seconds, and reading the weights from a slow disk the load for minutes before llama.cpp tells of them.
 */
export const defaultSilence: SilenceLimits = {
  loading: 60_000,
  serving: 10_000,
  stuck: 1_800_000,
  estimating: 60_000,
  computing: 300_000,
};

const silenceCheckMs = 1_000;

/** As Node.js, llama.cpp and drivers say it. */
const outOfMemory = /out of memory|insufficient memory|(failed|unable) to allocate|cannot allocate|bad_alloc/i;

/** Lines of stderr that are kept to explain a death. */
const keptLines = 12;

/** What a runner may see of the server's environment: no secrets. */
const passedOn = /^(PATH|HOME|LANG|LC_.*|TZ|TMPDIR|LD_LIBRARY_PATH|(CUDA|NVIDIA|GGML|VK|HIP|ROCR)_.*)$/;

/** A runner has ended before it did what it was asked to. `refused`: it said itself that the model cannot be used. */
export class RunnerFailure extends Error {
  readonly refused: boolean;

  constructor(cause: string, refused: boolean) {
    super(cause);
    this.refused = refused;
  }
}

/**
 * One child process that opens the backend and then waits for a model to load, or to tell the memory of. Whatever happens
 * to it, the server goes on.
 */
export class RunnerProcess {
  readonly exited: Promise<void>;
  readonly #child: ChildProcess;
  readonly #ownLog: Logger;
  #log: Logger;
  /** Its lines have a level of their own. */
  #engineLog: Logger;
  #observer: RunnerObserver;
  /** Called when it has ended, too: what listened to `exited` would pile up in a runner that is used again and again. */
  #onUnloaded: () => void = () => undefined;
  #onEstimated: (memory: Memory | undefined) => void = () => undefined;
  readonly #lastLines: string[] = [];
  readonly #watchdog: NodeJS.Timeout;
  readonly #silence: SilenceLimits;
  #state: RunnerState = { name: "starting" };
  #statistics: SlotStatistics = { busySlots: 0, cachedTokens: 0 };
  /** Checks since it was last heard of. Counted, not timed: a server that stood still has not listened meanwhile. */
  #silentChecks = 0;
  /** Checks since it was given a task, or told of its progress. */
  #stuckChecks = 0;
  /** What it has been asked and not answered. Of a load there is no end: from then on it must always be heard of. */
  #unanswered = 0;
  #refusal: string | undefined;
  /** What it did not do any more. */
  #hungAt: "answering" | "loading" | "computing" | undefined;

  constructor(backend: Omit<PrepareCommand, "type">, log: Logger, observer: RunnerObserver, silence = defaultSilence) {
    this.#silence = silence;
    this.#observer = observer;
    this.#child = fork(program, [], {
      env: environment(backend.gpu),
      execArgv: [`--max-old-space-size=${heapMegabytes}`],
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    this.#ownLog = log.child({ runner: this.#child.pid });
    this.#log = this.#ownLog;
    this.#engineLog = this.#ownLog.child({ component: "llama.cpp" });
    this.#child.on("message", (message) => {
      this.#receive(message);
    });
    this.#child.on("error", (error) => {
      this.#lastLines.push(error.message);
    });
    this.#captureLines("stdout", this.#child.stdout);
    this.#captureLines("stderr", this.#child.stderr);
    this.#watchdog = setInterval(() => {
      this.#checkSilence();
    }, silenceCheckMs);
    this.exited = new Promise((resolve) => {
      // `close` comes after the last line of stderr, which `exit` may not.
      this.#child.once("close", (code, signal) => {
        clearInterval(this.#watchdog);
        this.#end(code, signal);
        resolve();
      });
    });
    this.#ask({ type: "prepare", ...backend });
  }

  /** Loads a model. Until it is unloaded the runner belongs to it. */
  load(modelId: string, command: LoadCommand, observer: RunnerObserver): void {
    this.#log = this.#ownLog.child({ model: modelId });
    this.#engineLog = this.#log.child({ component: "llama.cpp" });
    this.#observer = observer;
    this.#ask(command);
  }

  /** How much memory a model would take. @throws {RunnerFailure} when the runner refuses it or dies of it */
  async estimate(command: EstimateCommand): Promise<Memory> {
    const estimated = new Promise<Memory | undefined>((resolve) => {
      this.#onEstimated = resolve;
    });
    this.#ask(command);
    const memory = hasEnded(this.#state) ? undefined : await estimated;
    if (memory !== undefined) return memory;
    const { cause, refused } = this.#state.name === "failed" ? this.#state : { cause: "the runner was stopped", refused: false };
    throw new RunnerFailure(cause, refused);
  }

  get state(): RunnerState {
    return this.#state;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get statistics(): SlotStatistics {
    return this.#statistics;
  }

  /** To a runner that has died the message is lost, and the death is told to the observer. */
  send(command: RunnerCommand): void {
    if (this.#child.connected) this.#child.send(command, () => undefined);
  }

  /** Asks the runner to exit, and makes it after `graceMs`. Resolves when the process is gone. */
  async stop(graceMs: number): Promise<void> {
    this.#enter({ name: "draining" });
    this.send({ type: "stop" });
    const deadline = setTimeout(() => this.#child.kill("SIGKILL"), graceMs);
    await this.exited;
    clearTimeout(deadline);
  }

  /**
   * Has the runner give its model up, within `graceMs`. It can load another one then; where memory stays behind, or it takes
   * too long, it is stopped instead.
   */
  async unload(graceMs: number): Promise<void> {
    this.#enter({ name: "unloading" });
    const unloaded = new Promise<void>((resolve) => {
      this.#onUnloaded = resolve;
    });
    this.send({ type: "unload" });
    const deadline = setTimeout(() => this.#child.kill("SIGKILL"), graceMs);
    if (!hasEnded(this.#state)) await unloaded;
    clearTimeout(deadline);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #receive(message: unknown): void {
    this.#silentChecks = 0;
    const { data: event, error } = runnerEvent.safeParse(message);
    if (error !== undefined) {
      this.#lastLines.push(`it sent a message that is not understood: ${error.message}`);
      this.kill();
      return;
    }
    if (event.type !== "heartbeat" && event.type !== "video_memory" && event.type !== "log") this.#stuckChecks = 0;
    switch (event.type) {
      case "step":
        this.#observer.stepped(this, event);
        break;
      case "heartbeat":
        this.#statistics = event.statistics;
        this.#observer.beat(this, event);
        // The thread that computes hangs by itself: the one that says so goes on.
        if (event.computingMs > this.#silence.computing) this.#hung("computing");
        break;
      case "video_memory":
        this.#observer.sawVideoMemory(this, event.videoMemory);
        break;
      case "log":
        if (event.source === "llama.cpp") this.#engineLog[event.level](event.message);
        else this.#log[event.level]({ request_id: event.requestId }, event.message);
        break;
      case "prepared":
        this.#unanswered--;
        this.#onUnloaded();
        this.#enter({ name: "prepared", backend: event.backend, videoMemory: event.videoMemory });
        break;
      case "estimated":
        this.#unanswered--;
        this.#onEstimated(event.memory);
        break;
      case "progress":
        this.#enter(event.phase === "loading" ? { name: "loading", progress: event.progress } : { name: "warming" });
        break;
      case "ready":
        this.#enter({ name: "ready", model: event.model });
        break;
      case "refused":
        this.#refusal = event.message;
        break;
    }
  }

  #enter(to: RunnerState): void {
    const next = transition(this.#state, to);
    if (next === undefined) return;
    this.#state = next;
    this.#observer.stateChanged(this);
  }

  #end(code: number | null, signal: NodeJS.Signals | null): void {
    const expected = isLeaving(this.#state);
    const exit = this.#exitReason(signal);
    const refused = exit === "refused";
    this.#enter(expected ? { name: "stopped" } : { name: "failed", cause: this.#causeOfDeath(code, signal), refused, exit });
    this.#onUnloaded();
    this.#onEstimated(undefined);
  }

  #exitReason(signal: NodeJS.Signals | null): ExitReason {
    if (this.#hungAt !== undefined) return "silence";
    // With more room the same model may be loaded: it is not to be given up for that.
    if ([...this.#lastLines, this.#refusal ?? ""].some((line) => outOfMemory.test(line))) return "memory";
    if (this.#refusal !== undefined) return "refused";
    return signal === null ? "crash" : "signal";
  }

  #causeOfDeath(code: number | null, signal: NodeJS.Signals | null): string {
    if (this.#refusal !== undefined) return this.#refusal;
    if (this.#hungAt === "loading")
      return `the runner got no further while ${this.#state.name} for ${this.#stuckLimitMs / 1_000} s and was killed`;
    if (this.#hungAt !== undefined) return `the runner stopped ${this.#hungAt} while ${this.#state.name} and was killed`;
    const how = signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
    return [`the runner ${how} while ${this.#state.name}`, ...this.#lastLines].join("; ");
  }

  #ask(command: PrepareCommand | EstimateCommand | LoadCommand): void {
    this.#unanswered++;
    this.#silentChecks = 0;
    this.#stuckChecks = 0;
    this.send(command);
  }

  #checkSilence(): void {
    if (hasEnded(this.#state)) return;
    // Of one that stands by, too: whoever took it would find out a minute later.
    const isQuiet = this.#state.name === "ready" || this.#unanswered === 0;
    const limitMs = isQuiet ? this.#silence.serving : this.#silence.loading;
    if (++this.#silentChecks * silenceCheckMs > limitMs) this.#hung("answering");
    else if (!isQuiet && ++this.#stuckChecks * silenceCheckMs > this.#stuckLimitMs) this.#hung("loading");
  }

  get #stuckLimitMs(): number {
    return this.#state.name === "prepared" ? this.#silence.estimating : this.#silence.stuck;
  }

  #hung(at: "answering" | "loading" | "computing"): void {
    this.#hungAt = at;
    this.kill();
  }

  #captureLines(stream: "stdout" | "stderr", input: Readable | null): void {
    if (input === null) return;
    createInterface({ input }).on("line", (line) => {
      if (line.trim() === "") return;
      this.#lastLines.push(line);
      if (this.#lastLines.length > keptLines) this.#lastLines.shift();
      this.#log.warn({ stream }, line);
    });
  }
}

function environment(gpu: PrepareCommand["gpu"]): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => passedOn.test(name));
  return {
    ...Object.fromEntries(inherited),
    UV_THREADPOOL_SIZE: String(threadPoolSize(gpu)),
    // An assertion that fails would start a debugger to print a backtrace.
    GGML_NO_BACKTRACE: "1",
    MALLOC_ARENA_MAX: "2",
    // Weights and KV in pages of 2 MiB, where the kernel leaves that to the program: a decode step reads them all, and spends
    // some 2 % less time on it. Known to glibc only.
    GLIBC_TUNABLES: "glibc.malloc.hugetlb=1",
  };
}

/**
 * On the CPU every batch starts compute threads that spin at barriers, and a second pool thread makes batches collide:
 * 124 instead of 675 tokens/s were measured on a tiny model. On a GPU more threads let slots sample in parallel.
 */
function threadPoolSize(gpu: PrepareCommand["gpu"]): number {
  return isGpuExpected(gpu, hasGpuDevice) ? 8 : 1;
}
