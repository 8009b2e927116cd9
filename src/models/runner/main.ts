import { runnerCommand, type LoadCommand, type RunnerEvent } from "../../protocol/runner.ts";
import { chatFormat } from "./chat-formats.ts";
import { Engine } from "./engine.ts";
import { PromptBuilder } from "./prompt.ts";
import { StepLoop } from "./step-loop.ts";

/**
 * The runner process: holds one loaded model until it is told to stop, or until its server is gone. Whatever goes wrong
 * ends the process, and with it every byte that the model took.
 */

const heartbeatMs = 1_000;

/** llama.cpp says why a load failed in its log, not in what it returns; this many of its last complaints are kept. */
const keptComplaints = 5;

function send(event: RunnerEvent): void {
  process.send?.(event);
}

/** Exits when everything sent has left the process. */
function sendAndExit(event: RunnerEvent, exitCode: number): void {
  if (process.send === undefined) process.exit(exitCode);
  process.send(event, () => process.exit(exitCode));
}

async function load(command: LoadCommand): Promise<StepLoop> {
  const complaints: string[] = [];
  try {
    let reported = 0;
    const engine = await Engine.load(
      command,
      (level, message) => {
        if (level === "error" || level === "fatal") complaints.push(message);
        send({ type: "log", level, message });
      },
      (progress) => {
        if (progress < 1 && progress - reported < 0.05) return;
        reported = progress;
        send({ type: "progress", phase: "loading", progress });
      },
    );
    send({ type: "progress", phase: "warming", progress: 0 });
    return await startLoop(engine, command);
  } catch (thrown) {
    // Log lines come through the event loop: let those of the failure arrive.
    await new Promise((resolve) => setTimeout(resolve, 10));
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new Error([reason, ...complaints.slice(-keptComplaints)].join("; "), { cause: thrown });
  }
}

async function startLoop(engine: Engine, command: LoadCommand): Promise<StepLoop> {
  const controlTokens = new Set(engine.controlTokenTexts(command.vocabularySize));
  const format = chatFormat(command.template, controlTokens);
  const prompts = new PromptBuilder(engine, format, controlTokens);
  if (prompts.templateError !== undefined) send({ type: "log", level: "error", message: prompts.templateError.message });
  const loop = new StepLoop(engine, prompts, format, command.batchSize, send);
  await loop.warmUp();
  send({ type: "ready", model: { ...engine.info, template: format.name } });
  setInterval(() => {
    send({ type: "heartbeat", statistics: loop.statistics });
  }, heartbeatMs);
  loop.run().then(
    () => process.exit(0),
    (thrown: unknown) => {
      sendAndExit({ type: "log", level: "fatal", message: `The step loop failed: ${String(thrown)}` }, 1);
    },
  );
  return loop;
}

let loop: StepLoop | undefined;

process.on("message", (message) => {
  const command = runnerCommand.parse(message);
  switch (command.type) {
    case "load":
      load(command).then(
        (loaded) => {
          loop = loaded;
        },
        (thrown: unknown) => {
          sendAndExit({ type: "load_failed", message: thrown instanceof Error ? thrown.message : String(thrown) }, 1);
        },
      );
      break;
    case "generate":
      loop?.generate(command);
      break;
    case "cancel":
      loop?.cancel(command.id);
      break;
    case "stop":
      if (loop === undefined) process.exit(0);
      loop.stop();
      break;
  }
});

// The server is gone, killed perhaps: nobody is left to answer to, and a batch may be under way that an exit would wait for.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
// A signal to the whole group (Ctrl-C) is the server's to handle: it lets answers finish first.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);
