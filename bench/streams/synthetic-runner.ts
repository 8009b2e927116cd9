import { runnerCommand, type RunnerEvent } from "../../src/protocol/runner.ts";

/**
 * A runner without a model: every answer gets a token at a fixed rate, all of one tick in one message, as the real one does. The
 * text of each token is the time at which it was made, so that whoever receives it can tell how long it was on its way.
 */

const tokensPerSecond = Number(process.env["GGML_SYNTHETIC_RATE"] ?? 50);

const answers = new Map<string, { left: number; isNew: boolean }>();
let slots = 1;

function send(event: RunnerEvent): void {
  process.send?.(event);
}

function tick(): void {
  if (answers.size === 0) return;
  const text = `${(performance.timeOrigin + performance.now()).toFixed(3)} `;
  const running = [...answers];
  send({
    type: "step",
    at: performance.now(),
    prefilled: 0,
    started: running.flatMap(([id, answer], slot) => (answer.isNew ? [{ id, slot, promptTokens: 1, cachedTokens: 0 }] : [])),
    outputs: running.map(([id]) => ({ id, tokens: [1], text })),
    ended: running.flatMap(([id, { left }]) =>
      left === 1 ? [{ outcome: "finished" as const, id, reason: "length" as const }] : [],
    ),
  });
  for (const [id, answer] of running) {
    answer.isNew = false;
    if (--answer.left === 0) answers.delete(id);
  }
}

process.on("message", (message) => {
  const command = runnerCommand.parse(message);
  switch (command.type) {
    case "prepare":
    case "unload":
      send({ type: "prepared", backend: "cpu", videoMemory: { gpus: 0, free: 0, perRunner: 0 } });
      break;
    case "estimate":
      send({ type: "estimated", memory: { ram: 2 ** 20, vram: 0 } });
      break;
    case "load": {
      slots = command.slots;
      const { contextSize } = command;
      const memory = { ram: 2 ** 20, vram: 0 };
      send({ type: "progress", phase: "loading", progress: 0 });
      send({ type: "progress", phase: "warming", progress: 0 });
      send({ type: "ready", model: { contextSize, slots, backend: "cpu", threads: 1, memory, residue: 0, template: "none" } });
      setInterval(tick, 1_000 / tokensPerSecond);
      setInterval(() => {
        send({
          type: "heartbeat",
          statistics: { busySlots: answers.size, cachedTokens: 0 },
          computingMs: 0,
          loopDelays: [],
        });
      }, 1_000);
      break;
    }
    case "generate":
      answers.set(command.id, { left: command.maxTokens ?? 1, isNew: true });
      break;
    case "cancel":
      if (answers.delete(command.id)) {
        const ended = [{ outcome: "finished" as const, id: command.id, reason: "cancelled" as const }];
        send({ type: "step", at: performance.now(), prefilled: 0, started: [], outputs: [], ended });
      }
      break;
    case "log_level":
      break;
    case "stop":
      process.exit(0);
  }
});
process.on("disconnect", () => process.exit(0));
process.on("SIGINT", () => undefined);
