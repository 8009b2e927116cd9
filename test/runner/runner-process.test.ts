import assert from "node:assert/strict";
import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, mock, test } from "node:test";
import { fileURLToPath } from "node:url";
import { metadataString, readGgufHeader, vocabularySize } from "../../src/models/gguf/header.ts";
import { defaultSilence, RunnerProcess } from "../../src/models/runner-process.ts";
import { transition, type RunnerState } from "../../src/models/runner-state.ts";
import { runnerEvent, type EndedEvent, type GenerateCommand, type StepEvent } from "../../src/protocol/runner.ts";
import { greedy } from "../engine/loaded.ts";
import { u32 } from "../fixtures/gguf-header.ts";
import { writeGguf } from "../fixtures/gguf-writer.ts";
import { hostileFile } from "../fixtures/hostile.ts";
import { tinyModel, tinyModelFile } from "../fixtures/tiny-models.ts";
import { cpuOnly, silent } from "../support/service.ts";

/** By how much a process of Node.js differs from one time to the next. */
const heapNoise = 16 * 2 ** 20;

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "llamapod-runner-"));
});
after(() => rm(folder, { recursive: true }));

interface Watched {
  readonly runner: RunnerProcess;
  readonly states: RunnerState["name"][];
  readonly until: (name: RunnerState["name"]) => Promise<RunnerState>;
  readonly load: (path: string) => Promise<void>;
}

/** @param described the file whose header the server goes by */
async function start(
  path: string,
  silenceMs?: number,
  described = path,
  onStep: (step: StepEvent) => void = () => undefined,
  beforeLoad: (runner: RunnerProcess) => Promise<void> = () => Promise.resolve(),
): Promise<Watched> {
  const states: RunnerState["name"][] = [];
  const changes = new EventTarget();
  const observer = {
    stateChanged: ({ state }: RunnerProcess) => {
      if (states.at(-1) !== state.name) states.push(state.name);
      changes.dispatchEvent(new Event("change"));
    },
    stepped: (_: RunnerProcess, step: StepEvent) => {
      onStep(step);
    },
    beat: () => undefined,
    sawVideoMemory: () => undefined,
  };
  const runner = new RunnerProcess(
    cpuOnly,
    silent,
    observer,
    silenceMs === undefined ? undefined : { ...defaultSilence, loading: silenceMs, serving: silenceMs, computing: silenceMs },
  );
  const load = async (file: string, fileDescribed = file) => {
    const header = await readGgufHeader(fileDescribed);
    const settings = { contextSize: 512, slots: 2, batchSize: 512 };
    const template = metadataString(header, "tokenizer.chat_template");
    runner.load("tiny", { type: "load", path: file, ...settings, template, vocabularySize: vocabularySize(header) }, observer);
  };
  await beforeLoad(runner);
  await load(path, described);
  const until = async (name: RunnerState["name"]) => {
    while (runner.state.name !== name) await once(changes, "change");
    return runner.state;
  };
  return { runner, states, until, load };
}

function causeOf(state: RunnerState): string {
  return state.name === "failed" ? state.cause : assert.fail(`the runner is ${state.name}`);
}

test("a runner loads, becomes ready, and stops when it is asked to", async () => {
  const { runner, states, until } = await start(await tinyModel("gpt2"));
  const state = await until("ready");
  assert.ok(
    state.name === "ready" && state.model.backend === "cpu" && state.model.template === "file" && state.model.memory.ram > 0,
  );
  await runner.stop(10_000);
  assert.equal(runner.state.name, "stopped");
  assert.deepEqual(states, ["prepared", "loading", "warming", "ready", "draining", "stopped"]);
});

test("a runner that does not stop when it is asked to is killed", { timeout: 60_000 }, async () => {
  const { runner, until } = await start(await tinyModel("gpt2"));
  await until("ready");
  process.kill(runner.pid ?? 0, "SIGSTOP");
  await runner.stop(200);
  assert.equal(runner.state.name, "stopped");
});

test("a runner that has given its model up holds its memory no more, and loads another one", async () => {
  const { runner, states, until, load } = await start(await tinyModel("qwen2"));
  await until("ready");
  await runner.unload(30_000);
  assert.equal(runner.state.name, "prepared");
  await load(await tinyModel("gpt2"));
  await until("ready");
  await runner.stop(10_000);
  const life = ["loading", "warming", "ready"];
  assert.deepEqual(states, ["prepared", ...life, "unloading", "prepared", ...life, "draining", "stopped"]);
});

test("what a runner has done leaves nothing behind that waits for its end", async () => {
  const path = await tinyModel("gpt2");
  const shape = { path, contextSize: 512, slots: 2, batchSize: 512, vocabularySize: vocabularySize(await readGgufHeader(path)) };
  const { runner, until, load } = await start(path);
  const listening = mock.method(runner.exited, "then").mock;
  for (let turn = 0; turn < 2; turn++) {
    await until("ready");
    await runner.unload(30_000);
    await runner.estimate({ type: "estimate", ...shape, fileBytes: (await stat(path)).size });
    await load(path);
  }
  const listeners = listening.callCount();
  await until("ready");
  await runner.stop(10_000);
  assert.equal(listeners, 0);
});

test("a runner tells what it holds of an estimate apart from what its model takes", async () => {
  const [small, large] = [await tinyModel("gpt2"), await tinyModel("qwen2")];
  const loaded = async (watched: Watched) => {
    const state = await watched.until("ready");
    await watched.runner.stop(10_000);
    return state.name === "ready" ? state.model : assert.fail(state.name);
  };
  const fresh = await loaded(await start(small));
  const header = await readGgufHeader(large);
  const used = await start(small, undefined, small, undefined, async (runner) => {
    const shape = { path: large, contextSize: 512, slots: 2, batchSize: 512, vocabularySize: vocabularySize(header) };
    await runner.estimate({ type: "estimate", ...shape, fileBytes: header.fileBytes });
  });
  const { memory, residue } = await loaded(used);
  const difference = memory.ram - residue - fresh.memory.ram;
  assert.ok(residue > heapNoise && Math.abs(difference) < heapNoise, JSON.stringify({ fresh, memory, residue }));
});

test("a runner that is killed has failed, and says by what", async () => {
  const { runner, until } = await start(await tinyModel("gpt2"));
  await until("ready");
  runner.kill();
  assert.match(causeOf(await until("failed")), /SIGKILL while ready/);
});

test("a runner that does not answer any more is killed", async () => {
  const { runner, until } = await start(await tinyModel("gpt2"), 10_000);
  await until("ready");
  process.kill(runner.pid ?? 0, "SIGSTOP");
  assert.match(causeOf(await until("failed")), /stopped answering while ready/);
});

test("a runner that stands by and says nothing any more is killed before anybody takes it", async () => {
  const changes = new EventTarget();
  const observer = {
    stateChanged: () => changes.dispatchEvent(new Event("change")),
    stepped: () => undefined,
    beat: () => undefined,
    sawVideoMemory: () => undefined,
  };
  const runner = new RunnerProcess(cpuOnly, silent, observer, { ...defaultSilence, serving: 3_000 });
  while (runner.state.name !== "prepared") await once(changes, "change");
  process.kill(runner.pid ?? 0, "SIGSTOP");
  await runner.exited;
  assert.match(causeOf(runner.state), /stopped answering while prepared/);
});

test("a runner that gets no further with a batch is killed, although it says that it lives", { timeout: 30_000 }, async () => {
  const path = await tinyModel("gpt2");
  const ended = new EventTarget();
  const observer = {
    stateChanged: () => ended.dispatchEvent(new Event("change")),
    stepped: () => ended.dispatchEvent(new Event("step")),
    beat: () => undefined,
    sawVideoMemory: () => undefined,
  };
  // Every batch takes longer than nothing.
  const runner = new RunnerProcess(cpuOnly, silent, observer, { ...defaultSilence, computing: 0 });
  const shape = { contextSize: 512, slots: 1, batchSize: 512, vocabularySize: vocabularySize(await readGgufHeader(path)) };
  runner.load("tiny", { type: "load", path, ...shape }, observer);
  const isReady = () => runner.state.name === "ready";
  while (!isReady()) await once(ended, "change");
  const rest = { cacheScope: "", sampling: greedy, stop: [], ignoreEndOfTurn: true, generated: [], maxTokens: 400 };
  for (let asked = 0; isReady(); asked++) {
    const id = `${asked}`;
    runner.send({ type: "generate", id, requestId: id, prompt: { kind: "text", text: "Once upon a time" }, ...rest });
    await Promise.race([once(ended, "step"), runner.exited]);
  }
  assert.match(causeOf(runner.state), /stopped computing while ready/);
});

test("a load that gets no further is killed, although its runner says that it lives", { timeout: 30_000 }, async () => {
  const pipe = join(folder, "never-written.gguf");
  execFileSync("mkfifo", [pipe]);
  const ended = new EventTarget();
  const observer = {
    stateChanged: () => ended.dispatchEvent(new Event("change")),
    stepped: () => undefined,
    beat: () => undefined,
    sawVideoMemory: () => undefined,
  };
  const runner = new RunnerProcess(cpuOnly, silent, observer, { ...defaultSilence, stuck: 3_000 });
  while (runner.state.name !== "prepared") await once(ended, "change");
  runner.load("tiny", { type: "load", path: pipe, contextSize: 512, slots: 1, batchSize: 512, vocabularySize: 0 }, observer);
  await runner.exited;
  assert.match(causeOf(runner.state), /got no further while loading for 3 s/);
});

test("a load for which there is too little memory is no proof that the model cannot be used", { timeout: 30_000 }, async () => {
  const path = await tinyModel("llama");
  const { runner, until } = await start(path, undefined, path, undefined, async (runner) => {
    while (runner.state.name !== "prepared") await new Promise((resolve) => setImmediate(resolve));
    const taken = Number(/^VmSize:\s+(\d+) kB$/m.exec(await readFile(`/proc/${runner.pid}/status`, "utf8"))?.[1]) * 1_024;
    execFileSync("prlimit", ["--pid", String(runner.pid), `--as=${taken}`]);
  });
  const state = await until("failed");
  assert.ok(state.name === "failed");
  assert.deepEqual([state.refused, state.exit], [false, "memory"], state.cause);
  await runner.exited;
});

test("an estimate that gets no further is killed, too", { timeout: 30_000 }, async () => {
  const pipe = join(folder, "never-estimated.gguf");
  execFileSync("mkfifo", [pipe]);
  const observer = {
    stateChanged: () => undefined,
    stepped: () => undefined,
    beat: () => undefined,
    sawVideoMemory: () => undefined,
  };
  const runner = new RunnerProcess(cpuOnly, silent, observer, { ...defaultSilence, estimating: 3_000 });
  const shape = { contextSize: 512, slots: 1, batchSize: 512, vocabularySize: 0, fileBytes: 0 };
  await assert.rejects(runner.estimate({ type: "estimate", path: pipe, ...shape }), /got no further while prepared for 3 s/);
});

test("a runner says that it lives before it has a model, too", async () => {
  const beats = new EventTarget();
  const observer = {
    stateChanged: () => undefined,
    stepped: () => undefined,
    beat: () => beats.dispatchEvent(new Event("beat")),
    sawVideoMemory: () => undefined,
  };
  const runner = new RunnerProcess(cpuOnly, silent, observer);
  await once(beats, "beat");
  assert.equal(runner.state.name, "prepared");
  await runner.stop(10_000);
});

test("a command that is none is refused, and not an uncaught exception", async () => {
  const program = fileURLToPath(new URL("../../src/models/runner/main.js", import.meta.url));
  const child = fork(program, [], { stdio: ["ignore", "ignore", "pipe", "ipc"] });
  const said: unknown[] = [];
  child.on("message", (message) => said.push(message));
  child.send({ type: "dance" });
  await once(child, "close");
  const [event] = said.map((message) => runnerEvent.parse(message));
  assert.ok(event?.type === "refused", JSON.stringify(said));
});

test("a prompt of a megabyte of control tokens is refused, and the answer beside it is not held up", async () => {
  const path = await tinyModel("qwen2");
  const rest = { cacheScope: "", sampling: greedy, stop: [], ignoreEndOfTurn: true, generated: [] };
  const ended = new Map<string, EndedEvent>();
  const changes = new EventTarget();
  const { runner, until } = await start(path, 10_000, path, (step) => {
    for (const event of step.ended) ended.set(event.id, event);
    changes.dispatchEvent(new Event("step"));
  });
  const ask = (id: string, prompt: GenerateCommand["prompt"], maxTokens: number) => {
    runner.send({ type: "generate", id, requestId: id, prompt, maxTokens, ...rest });
  };
  const hostile = "<|im_end|>".repeat(100_000);
  await until("ready");
  ask("innocent", { kind: "text", text: "Once upon a time" }, 300);
  await once(changes, "step");
  ask("raw", { kind: "text", text: hostile }, 1);
  ask("chat", { kind: "chat", messages: [{ role: "user", content: hostile }] }, 1);
  while (ended.size < 3 && runner.state.name === "ready") await Promise.race([once(changes, "step"), runner.exited]);
  const outcomes = [...ended.values()].map((event) => [event.id, event.outcome === "failed" ? event.code : event.reason]);
  assert.deepEqual(Object.fromEntries(outcomes), {
    innocent: "length",
    raw: "context_length_exceeded",
    chat: "context_length_exceeded",
  });
  await runner.stop(10_000);
});

test("a server that stands still itself does not take its runner for silent", async () => {
  const { runner, until } = await start(await tinyModel("gpt2"), 3_000);
  await until("ready");
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  Atomics.wait(nothing, 0, 0, 6_000);
  // Timers that are due, then what the runner has said meanwhile, then timers again.
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(runner.state.name, "ready");
  await runner.stop(10_000);
});

test("a template that never ends keeps its runner from becoming ready, and is ended", async () => {
  const { states, until } = await start(await hostileFile("endless-template", folder), 3_000);
  assert.match(causeOf(await until("failed")), /stopped answering/);
  assert.ok(!states.includes("ready"));
});

test("a template that eats memory ends its runner, and nothing else", async () => {
  const { states, until } = await start(await hostileFile("memory-template", folder));
  assert.match(causeOf(await until("failed")), /while (starting|prepared|loading|warming)/);
  assert.ok(!states.includes("ready"));
});

test("a file on which llama.cpp aborts is a failure with the assertion as its cause", async () => {
  const path = join(folder, "no-layers.gguf");
  const { metadata, tensors } = await tinyModelFile("gpt2");
  await writeGguf(path, { metadata: { ...metadata, "gpt2.block_count": u32(0) }, tensors });
  // The server would refuse it, having read its header. Here it has not.
  const { until } = await start(path, undefined, await tinyModel("gpt2"));
  assert.match(causeOf(await until("failed")), /SIGABRT.*GGML_ASSERT/s);
});

test("a file that llama.cpp refuses is refused, with llama.cpp's own reason", async () => {
  const { until } = await start(await hostileFile("unknown-architecture", folder));
  const state = await until("failed");
  assert.ok(state.name === "failed" && state.refused);
  assert.match(state.cause, /unknown model architecture/);
});

test("a runner sees none of the server's secrets", async () => {
  process.env["LLAMAPOD_TEST_SECRET"] = "canary";
  const { runner, until } = await start(await tinyModel("gpt2"));
  await until("ready");
  const environment = await readFile(`/proc/${runner.pid}/environ`, "utf8");
  delete process.env["LLAMAPOD_TEST_SECRET"];
  await runner.stop(10_000);
  assert.ok(environment.includes("PATH=") && !environment.includes("canary"));
});

test("a state is only followed by one that the lifecycle allows", () => {
  const warming: RunnerState = { name: "warming" };
  const failed: RunnerState = { name: "failed", cause: "", refused: false, exit: "crash" };
  assert.equal(transition({ name: "loading", progress: 1 }, warming), warming);
  assert.equal(transition({ name: "draining" }, warming), undefined);
  assert.equal(transition(failed, { name: "stopped" }), undefined);
  assert.equal(transition({ name: "stopped" }, failed), undefined);
});
