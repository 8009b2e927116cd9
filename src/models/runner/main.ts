import {
  runnerCommand,
  type EstimateCommand,
  type LoadCommand,
  type PrepareCommand,
  type RunnerEvent,
} from "../../protocol/runner.ts";
import { openBackend, type Backend } from "./bindings.ts";
import { chatFormat } from "./chat-formats.ts";
import { Engine } from "./engine.ts";
import { ownMemory } from "./process-memory.ts";
import { PromptBuilder } from "./prompt.ts";
import { StepLoop } from "./step-loop.ts";

/**
 * The runner process: opens the backend, tells what a model would take, and holds one loaded model until it is told to
 * give it up or to stop, or until its server is gone. Whatever goes wrong ends the process, and with it every byte that the
 * model took.
 */

const heartbeatMs = 1_000;

/** How often the progress of a load is told, at least, where there is any: a load that gets no further is ended. */
const reportMs = 1_000;

/** How often a timer is looked at for being late. */
const loopCheckMs = 100;

/** llama.cpp says why a load failed in its log, not in what it returns; this many of its last complaints are kept. */
const keptComplaints = 5;

/**
 * How much more than without a model the process may hold when it has given one up, in bytes. Seen here: some 50 MiB after
 * a vocabulary of 152,000 tokens, however many models there were.
 */
const toleratedResidue = 128 * 2 ** 20;

let complaints: readonly string[] = [];

function send(event: RunnerEvent): void {
  process.send?.(event);
}

/** Exits when everything sent has left the process. */
function sendAndExit(event: RunnerEvent, exitCode: number): void {
  if (process.send === undefined) process.exit(exitCode);
  process.send(event, () => process.exit(exitCode));
}

interface Prepared {
  readonly backend: Backend;
  readonly threads: number;
  /** What the process takes without a model, in bytes. */
  readonly baseMemory: number;
}

async function prepare(command: PrepareCommand): Promise<Prepared> {
  const backend = await openBackend(command, (level, message) => {
    if (level === "error" || level === "fatal") complaints = [...complaints, message].slice(-keptComplaints);
    send({ type: "log", source: "llama.cpp", level, message });
  });
  send({ type: "prepared", backend: backend.name, videoMemory: await backend.videoMemory() });
  beat();
  lookAtVideoMemory(backend);
  return { backend, threads: command.threads, baseMemory: ownMemory() };
}

async function estimate({ backend, baseMemory }: Prepared, command: EstimateCommand): Promise<void> {
  const { ram, vram } = await Engine.estimate(backend, command);
  send({ type: "estimated", memory: { ram: ram + baseMemory, vram } });
}

/** A model that is loaded, and the loop that answers with it. */
interface Serving {
  readonly engine: Engine;
  readonly loop: StepLoop;
  /** Resolves when the loop has been stopped. */
  readonly ended: Promise<void>;
}

async function load({ backend, threads, baseMemory }: Prepared, command: LoadCommand): Promise<Serving> {
  let reported = { progress: 0, at: performance.now() };
  const residue = Math.max(0, ownMemory() - baseMemory);
  complaints = [];
  send({ type: "progress", phase: "loading", progress: 0 });
  const engine = await Engine.load(backend, command, threads, (progress) => {
    const now = performance.now();
    if (progress < 1 && progress - reported.progress < 0.05 && now - reported.at < reportMs) return;
    reported = { progress, at: now };
    send({ type: "progress", phase: "loading", progress });
  });
  send({ type: "progress", phase: "warming", progress: 0 });
  const { controlTokens } = engine;
  const format = chatFormat(command.template, new Set(controlTokens.map(({ text }) => text)));
  const prompts = new PromptBuilder(engine, format, controlTokens);
  if (prompts.templateError !== undefined)
    send({ type: "log", source: "runner", level: "error", message: prompts.templateError.message });
  const loop = new StepLoop(engine, prompts, format, command.batchSize, send);
  await loop.warmUp();
  const memory = { ram: ownMemory(), vram: engine.videoMemory };
  send({ type: "ready", model: { ...engine.info, memory, residue, template: format.name } });
  return { engine, loop, ended: serve(loop) };
}

async function serve(loop: StepLoop): Promise<void> {
  try {
    await loop.run();
  } catch (thrown) {
    sendAndExit({ type: "log", source: "runner", level: "fatal", message: `The step loop failed: ${String(thrown)}` }, 1);
    // Nobody is to go on with what is left until the message is out.
    await new Promise(() => undefined);
  }
}

/** Says from now on that this process lives: a big file may take minutes to load, with little to tell of. */
function beat(): void {
  let loopDelays: number[] = [];
  let due = performance.now() + loopCheckMs;
  setInterval(() => {
    const now = performance.now();
    loopDelays.push(Math.max(0, now - due) / 1_000);
    due = now + loopCheckMs;
  }, loopCheckMs);
  setInterval(() => {
    const statistics = serving?.loop.statistics ?? { busySlots: 0, cachedTokens: 0 };
    send({ type: "heartbeat", statistics, computingMs: serving?.engine.computingMs ?? 0, loopDelays });
    loopDelays = [];
  }, heartbeatMs);
}

/**
 * Tells of the GPUs' memory, where there are any, as soon as it has been looked at: what is told late is of another time. Where
 * GPUs share the main memory, to look waits for the thread that computes, for which a heartbeat must not.
 */
function lookAtVideoMemory(backend: Backend): void {
  if (!backend.hasGpu) return;
  const look = (): void => {
    backend
      .videoMemory()
      .then(
        (videoMemory) => {
          send({ type: "video_memory", videoMemory });
        },
        (thrown: unknown) => {
          send({ type: "log", source: "runner", level: "warn", message: `The GPU's memory cannot be read: ${String(thrown)}` });
        },
      )
      .finally(() => setTimeout(look, heartbeatMs));
  };
  setTimeout(look, heartbeatMs);
}

async function stop({ loop, ended }: Serving): Promise<void> {
  loop.stop();
  await ended;
}

async function unload({ backend, baseMemory }: Prepared, serving: Serving): Promise<void> {
  await stop(serving);
  await serving.engine.dispose();
  if (ownMemory() > baseMemory + toleratedResidue) process.exit(0);
  send({ type: "prepared", backend: backend.name, videoMemory: await backend.videoMemory() });
}

/** What was thrown, with what llama.cpp had said before it. */
async function explain(thrown: unknown): Promise<string> {
  // Log lines come through the event loop: let those of the failure arrive.
  await new Promise((resolve) => setTimeout(resolve, 10));
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  return [reason, ...complaints].join("; ");
}

let prepared: Promise<Prepared> | undefined;
let serving: Serving | undefined;

/** @throws {Error} where it is no command, or cannot be carried out */
async function carryOut(message: unknown): Promise<void> {
  const command = runnerCommand.parse(message);
  switch (command.type) {
    case "prepare":
      prepared = prepare(command);
      await prepared;
      break;
    case "estimate":
      if (prepared !== undefined) await estimate(await prepared, command);
      break;
    case "load":
      if (prepared === undefined) break;
      serving = await load(await prepared, command);
      break;
    case "log_level":
      if (prepared !== undefined) (await prepared).backend.setLogLevel(command.logLevel);
      break;
    case "generate":
      serving?.loop.generate(command);
      break;
    case "cancel":
      serving?.loop.cancel(command.id);
      break;
    case "unload":
      if (prepared === undefined || serving === undefined) break;
      await unload(await prepared, serving);
      serving = undefined;
      break;
    case "stop":
      if (serving !== undefined) await stop(serving);
      process.exit(0);
  }
}

process.on("message", (message) => {
  carryOut(message).catch(async (thrown: unknown) => {
    sendAndExit({ type: "refused", message: await explain(thrown) }, 1);
  });
});

// The server is gone, killed perhaps: nobody is left to answer to, and a batch may be under way that an exit would wait for.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
// A signal to the whole group (Ctrl-C) is the server's to handle: it lets answers finish first.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);
