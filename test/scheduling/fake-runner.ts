import { RunnerFailure } from "../../src/models/runner-process.ts";
import { hasEnded, transition, type RunnerState } from "../../src/models/runner-state.ts";
import type { Runner, RunnerUser } from "../../src/models/runner.ts";
import type {
  EstimateCommand,
  GenerateCommand,
  LoadCommand,
  Memory,
  RunnerCommand,
  StepEvent,
  VideoMemory,
} from "../../src/protocol/runner.ts";

const mebibyte = 2 ** 20;

export interface FakeMachine {
  /** Of a GPU that is none, in bytes; models are on it where there is any. */
  readonly videoMemory: number;
  readonly gpus: number;
  /** What a runner takes of it by itself. */
  readonly contextBytes: number;
  /** A runner has opened the backend, which takes a part of the GPU. */
  opened(runner: FakeRunner): void;
  /** What its models, and other programs, have left of that. */
  readonly freeVideoMemory: number;
  /** What the estimates of some models wait for, by path. */
  readonly hanging: ReadonlyMap<string, Promise<void>>;
  /** What some models take beyond their estimate, by path, in bytes. */
  readonly surplus: ReadonlyMap<string, number>;
  /** A runner has been told to load. */
  loading(): void;
}

/** A runner without a process: it does what the test says, when the test says it. Of models it knows the size, their path. */
export class FakeRunner implements Runner {
  readonly pid = undefined;
  readonly statistics = { busySlots: 0, cachedTokens: 0 };
  readonly exited: Promise<void>;
  /** The same, for itself: who listens to the other one can be counted. */
  readonly #gone: Promise<void>;
  /** What it was told to generate and has not ended. */
  readonly running = new Map<string, GenerateCommand>();
  readonly cancelled = new Set<string>();
  readonly estimates: string[] = [];
  model: string | undefined;
  #size = 0;
  #surplus = 0;
  #state: RunnerState = { name: "starting" };
  #user: RunnerUser;
  #exit: () => void = () => undefined;
  #unloaded: () => void = () => undefined;
  readonly #machine: FakeMachine;

  constructor(user: RunnerUser, machine: FakeMachine) {
    this.#user = user;
    this.#machine = machine;
    this.#gone = new Promise((resolve) => {
      this.#exit = resolve;
    });
    this.exited = this.#gone.then(() => undefined);
  }

  get state(): RunnerState {
    return this.#state;
  }

  get isThere(): boolean {
    return !hasEnded(this.#state);
  }

  /** What it holds, in bytes, or is expected to. */
  get memory(): number {
    return this.isThere && this.model !== undefined ? this.#size : 0;
  }

  async estimate({ path }: EstimateCommand): Promise<Memory> {
    this.prepare();
    this.estimates.push(path);
    await Promise.race([this.#gone, this.#machine.hanging.get(path)]);
    if (!this.isThere) throw new RunnerFailure("it has died", false);
    return this.#placed(sizeOf(path));
  }

  load(modelId: string, { path }: LoadCommand, user: RunnerUser): void {
    this.model = modelId;
    this.#size = sizeOf(path);
    this.#surplus = this.#machine.surplus.get(path) ?? 0;
    this.#user = user;
    this.#machine.loading();
  }

  send(command: RunnerCommand): void {
    if (command.type === "generate") this.running.set(command.id, command);
    if (command.type === "cancel") this.cancelled.add(command.id);
  }

  async stop(): Promise<void> {
    this.enter({ name: "draining" });
    if (this.model === undefined) this.leave();
    await this.#gone;
  }

  async unload(): Promise<void> {
    const unloaded = new Promise<void>((resolve) => {
      this.#unloaded = resolve;
    });
    this.enter({ name: "unloading" });
    await Promise.race([unloaded, this.#gone]);
  }

  kill(): void {
    this.die();
  }

  prepare(): void {
    if (this.#state.name !== "starting") return;
    this.#machine.opened(this);
    this.enter({ name: "prepared", backend: "cpu", videoMemory: this.#videoMemory });
  }

  beginLoading(progress = 0): void {
    this.prepare();
    this.enter({ name: "loading", progress });
  }

  /** Looks how much of the GPU is free. */
  look(): void {
    this.#user.sawVideoMemory(this, this.#videoMemory);
  }

  /**
   * @param takes memory, in mebibytes, if not as much as estimated
   * @param residue what of this it held already, in mebibytes
   */
  becomeReady(takes = (this.#size + this.#surplus) / mebibyte, residue = 0): void {
    this.beginLoading(1);
    this.enter({ name: "warming" });
    this.#size = takes * mebibyte;
    const memory = this.#placed(this.#size);
    const model = { contextSize: 100, slots: 1, backend: "cpu", threads: 1, memory, residue: residue * mebibyte, template: "" };
    this.enter({ name: "ready", model });
  }

  /** What leaves is gone. */
  leave(): void {
    this.running.clear();
    if (this.#state.name === "unloading") {
      this.model = undefined;
      this.#unloaded();
      this.enter({ name: "prepared", backend: "cpu", videoMemory: this.#videoMemory });
      return;
    }
    this.enter({ name: "stopped" });
    this.#exit();
  }

  die(): void {
    if (!this.isThere) return;
    const isExpected = this.#state.name === "draining" || this.#state.name === "unloading";
    this.enter(isExpected ? { name: "stopped" } : { name: "failed", cause: "it was killed", refused: false, exit: "signal" });
    this.#exit();
  }

  refuse(): void {
    this.enter({ name: "failed", cause: "it is no model", refused: true, exit: "refused" });
    this.#exit();
  }

  produce(id: string, tokens = 1): void {
    const outputs = [{ id, tokens: Array.from({ length: tokens }, (_, index) => index), text: "x" }];
    this.#step({ started: [{ id, slot: 0, promptTokens: 1, cachedTokens: 0 }], outputs });
  }

  end(id: string): void {
    this.running.delete(id);
    const reason = this.cancelled.has(id) ? "cancelled" : "stop";
    this.#step({ ended: [{ outcome: "finished", id, reason }] });
  }

  /** It cannot answer that. */
  fail(id: string): void {
    this.running.delete(id);
    this.#step({ ended: [{ outcome: "failed", id, code: "context_length_exceeded", message: "too long" }] });
  }

  enter(to: RunnerState): void {
    const next = transition(this.#state, to);
    if (next === undefined) return;
    this.#state = next;
    this.#user.stateChanged(this);
  }

  get #videoMemory(): VideoMemory {
    const { gpus, freeVideoMemory: free, contextBytes: perRunner } = this.#machine;
    return { gpus, free, perRunner };
  }

  #placed(bytes: number): Memory {
    return this.#machine.videoMemory > 0 ? { ram: 0, vram: bytes } : { ram: bytes, vram: 0 };
  }

  #step(step: Partial<StepEvent>): void {
    this.#user.stepped(this, { type: "step", at: 0, prefilled: 0, started: [], outputs: [], ended: [], ...step });
  }
}

/** Models are named by paths such as `4`, in mebibytes. */
function sizeOf(path: string): number {
  return Number(path.split("-")[0]) * mebibyte;
}
