import assert from "node:assert/strict";
import { mock } from "node:test";
import { Metrics } from "../../src/health/metrics/metrics.ts";
import type { CatalogueEntry } from "../../src/models/catalogue.ts";
import type { ModelDefinition } from "../../src/models/catalogue/definition.ts";
import type { JobObserver, QueueReason } from "../../src/models/job.ts";
import { Pool, type PoolSettings } from "../../src/models/pool.ts";
import type { LlamapodError } from "../../src/protocol/errors.ts";
import { silent } from "../support/service.ts";
import { FakeRunner, type FakeMachine } from "./fake-runner.ts";

export const mebibyte = 2 ** 20;

/** How a job has fared. */
export interface Fate {
  readonly id: string;
  readonly namesModel: boolean;
  readonly askedAt: number;
  model: string;
  startedAt: number | undefined;
  /** What it was told last that it waits for. */
  waitsFor: QueueReason | undefined;
  readonly endings: (LlamapodError | "finished")[];
}

export interface WorldModel {
  /** In mebibytes. */
  readonly size: number;
  /** What it takes beyond that. */
  readonly surplus?: number;
  readonly aliases?: readonly string[];
}

const sampling = {
  temperature: 0,
  topP: 1,
  topK: 1,
  minP: 0,
  seed: 0,
  repeatPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
};

const defaults: PoolSettings = {
  contextSize: 100,
  slots: 1,
  batchSize: 1,
  isGpuExpected: false,
  memoryBudget: 2 ** 40,
  memoryReserve: 0,
  gpuMemoryReserve: 0,
  maxResident: 16,
  maxQueue: 256,
  maxQueuePerClient: 256,
  minResidencySeconds: 5,
  parkAfterSeconds: 3,
  idleUnloadSeconds: 0,
  preload: [],
  pinned: [],
  warmSpare: "off",
};

/** The pool as it is, with runners that are none, and a time that the test makes pass. */
export class PoolWorld implements Disposable, FakeMachine {
  readonly pool: Pool;
  readonly runners: FakeRunner[] = [];
  readonly fates = new Map<string, Fate>();
  readonly log: string[] = [];
  videoMemory = 0;
  gpus = 0;
  /** What each runner takes of the GPUs as soon as it has opened the backend. */
  contextBytes = 0;
  /** What other programs have taken of the GPUs. */
  foreignVideoMemory = 0;
  /** Thrown by the next attempts to start a process. */
  forkErrors: Error[] = [];
  /** What requests wait for before they find their model. */
  catalogueIsRead: Promise<void> = Promise.resolve();
  readonly hanging = new Map<string, Promise<void>>();
  readonly surplus = new Map<string, number>();
  /** The most that has been taken, in bytes, when a model was told to load as much as it is expected to take. */
  mostPlanned = 0;
  readonly #open = new Set<FakeRunner>();
  readonly #entries = new Map<string, CatalogueEntry>();
  readonly metrics = new Metrics({ version: "0", nodeLlamaCpp: "0", llamaCpp: "0" });
  #now = 1;
  #asked = 0;

  constructor(models: Readonly<Record<string, number | WorldModel>>, settings: Partial<PoolSettings> = {}) {
    mock.timers.enable({ apis: ["setTimeout"] });
    mock.method(performance, "now", () => this.#now);
    for (const [id, model] of Object.entries(models)) this.add(id, typeof model === "number" ? { size: model } : model);
    const get = (name: string) =>
      [...this.#entries.values()].find(({ id, aliases }) => [id, ...aliases].includes(name.toLowerCase()));
    const catalogue = {
      entries: [],
      get,
      find: async (name: string) => {
        await this.catalogueIsRead;
        return get(name) ?? assert.fail(`there is no model ${name}`);
      },
    };
    Object.defineProperty(catalogue, "entries", { get: () => [...this.#entries.values()] });
    this.pool = new Pool({ ...defaults, ...settings }, catalogue, this.metrics, silent, (user) => {
      const error = this.forkErrors.shift();
      if (error !== undefined) throw error;
      const runner = new FakeRunner(user, this);
      this.runners.push(runner);
      return runner;
    });
  }

  get freeVideoMemory(): number {
    const loaded = this.runners.filter(({ state }) => state.name === "ready");
    const contexts = [...this.#open].filter(({ isThere }) => isThere).length * this.contextBytes;
    const taken = loaded.reduce((sum, { memory }) => sum + memory, this.foreignVideoMemory + contexts);
    return Math.max(0, this.videoMemory - taken);
  }

  get now(): number {
    return this.#now;
  }

  /** Puts a model into the catalogue, or another definition of it. */
  add(id: string, { size, surplus = 0, aliases = [] }: WorldModel, definition: ModelDefinition = {}): CatalogueEntry {
    const known = this.#entries.get(id);
    const header = known?.header ?? { architecture: "llama", fileBytes: size * mebibyte, metadata: new Map(), tensorCount: 0 };
    const source = { folder: "/", isBuiltIn: false };
    const path = `${size}-${id}`;
    this.surplus.set(path, surplus * mebibyte);
    const file = { source, fileName: path, stem: id, paths: [path], changedAtMs: 0, stamp: "" };
    const entry = { id, aliases, path, file, header, definition, isBuiltIn: false };
    this.#entries.set(id, entry);
    return entry;
  }

  remove(id: string): void {
    this.#entries.delete(id);
    this.pool.catalogueChanged({ added: [], removed: [id], changed: [] });
  }

  entry(id: string): CatalogueEntry {
    return this.#entries.get(id) ?? assert.fail(`there is no model ${id}`);
  }

  /** Opens the pool with the given model loaded. */
  async serve(id: string): Promise<FakeRunner> {
    this.pool.open(this.entry(id));
    return this.ready(id);
  }

  /** Loads what is asked for to its end. */
  async ready(id: string): Promise<FakeRunner> {
    const runner = await this.runner(id);
    runner.becomeReady();
    await this.flush();
    return runner;
  }

  /** Has the size of each model estimated. */
  async estimateAll(): Promise<void> {
    for (const entry of this.#entries.values()) await this.pool.forecast(entry);
    await this.flush();
  }

  /** The estimate of a model, by its path, does not come until it is released. */
  hang(path: string): { readonly release: () => void } {
    let release = (): void => undefined;
    this.hanging.set(path, new Promise((resolve) => (release = resolve)));
    return { release: () => release() };
  }

  opened(runner: FakeRunner): void {
    this.#open.add(runner);
  }

  loading(): void {
    this.mostPlanned = Math.max(
      this.mostPlanned,
      this.runners.reduce((sum, { memory }) => sum + memory, 0),
    );
  }

  /** The one runner of a model. */
  async runner(id: string): Promise<FakeRunner> {
    await this.flush();
    const [runner, ...others] = this.runnersOf(id);
    assert.ok(runner !== undefined, `${id} has no runner`);
    assert.equal(others.length, 0, `${id} has more than one runner`);
    return runner;
  }

  runnersOf(id: string): FakeRunner[] {
    return this.runners.filter((runner) => runner.model === id && runner.isThere);
  }

  /** Runners without a model. */
  get spares(): FakeRunner[] {
    return this.runners.filter(({ isThere, model }) => isThere && model === undefined);
  }

  /** What each model's runners do. */
  get states(): Record<string, string> {
    const there = this.runners.filter(({ model, isThere }) => isThere && model !== undefined);
    return Object.fromEntries(there.map(({ model = "", state }) => [model, state.name]));
  }

  /** @param model none: whichever is the active one */
  ask(model?: string, client = "somebody", priority = 0): string {
    const id = `job-${++this.#asked}`;
    const modelId = model ?? this.pool.activeModel ?? assert.fail("no model is active");
    const fate: Fate = {
      id,
      namesModel: model !== undefined,
      askedAt: this.#now,
      model: modelId,
      startedAt: undefined,
      waitsFor: undefined,
      endings: [],
    };
    this.pool.submit(
      {
        id,
        requestId: id,
        modelId,
        namesModel: fate.namesModel,
        client,
        priority,
        prompt: { kind: "text", text: "x" },
        sampling,
        maxTokens: 1,
        stop: [],
        ignoreEndOfTurn: false,
        cacheScope: "",
        format: undefined,
      },
      this.#observer(fate),
    );
    this.fates.set(id, fate);
    return id;
  }

  /** The runner that works on a job. */
  workerOf(job: string): FakeRunner | undefined {
    return this.runners.find((runner) => runner.isThere && runner.running.has(job));
  }

  end(job: string): void {
    const runner = this.workerOf(job) ?? assert.fail(`nobody works on ${job}`);
    runner.produce(job);
    runner.end(job);
  }

  /** The errors that jobs have ended with, by job. */
  get failures(): Record<string, string> {
    const failed = [...this.fates.values()].flatMap(({ id, endings }) =>
      endings.flatMap((ending) => (ending === "finished" ? [] : [[id, ending.code] as const])),
    );
    return Object.fromEntries(failed);
  }

  async pass(ms: number): Promise<void> {
    this.#now += ms;
    mock.timers.tick(ms);
    await this.flush();
  }

  /** Time passes while the server is busy: no timer fires yet. */
  drift(ms: number): void {
    this.#now += ms;
  }

  /** Lets promises that are settled be noticed. */
  async flush(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }

  [Symbol.dispose](): void {
    void this.pool.close();
    this.metrics.close();
    mock.restoreAll();
    mock.timers.reset();
  }

  #observer(fate: Fate): JobObserver {
    return {
      assigned: (modelId) => {
        fate.model = modelId;
      },
      queued: (_, reason) => {
        fate.waitsFor = reason;
      },
      started: () => {
        fate.startedAt = this.#now;
      },
      produced: () => undefined,
      interrupted: () => undefined,
      resumed: () => undefined,
      finished: () => fate.endings.push("finished"),
      failed: (error) => fate.endings.push(error),
    };
  }
}
