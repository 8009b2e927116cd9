import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { test } from "node:test";
import { ClientError, LlamapodClient } from "llamapod/client";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { CheckedSocket as WebSocket } from "../support/checked-socket.ts";
import { Operator } from "../support/operator.ts";
import { runnersOf, ServerProcess, until } from "../support/processes.ts";
import { modelsFolder } from "../support/service.ts";
import { assertNothingLeft, takenBy } from "../support/taken.ts";

/** Few, unless `SOAK_SWITCHES` says how many. */
const switches = Number(process.env["SOAK_SWITCHES"] ?? 12);
const killEvery = 5;
const models = ["gpt2", "gemma2"] as const;
const streamsOfEach = 4;
const tokens = 150;

/** Runners where nobody asks. */
const residentAndSpare = 2;

const limit = { timeout: 60_000 + switches * 10_000 };

test("switches under steady streams, with runners killed between them, lose and repeat nothing", limit, async (context) => {
  const folder = await modelsFolder({ gpt2: await tinyModel("gpt2"), gemma2: await tinyModel("gemma2") });
  context.after(() => rm(folder, { recursive: true }));
  // One slot and batches of one token: an answer is the same to the last bit, however often it has been interrupted.
  const flags = [
    "--max-resident",
    "1",
    "--slots",
    "1",
    "--batch-size",
    "1",
    "--park-after-seconds",
    "0",
    "--retention-seconds",
    "1",
    // As it is for everybody: two runners take turns.
    "--warm-spare",
    "on",
  ];
  await using server = await ServerProcess.start(["--models-dir", folder, ...flags, "--min-residency-seconds", "1"]);
  const operator = new Operator(server.url);
  const request = (model: string) => ({
    model,
    messages: [{ role: "user" as const, content: "Tell me a story." }],
    temperature: 0,
    max_tokens: tokens,
  });
  const whole = new Map<string, string>();
  using first = new LlamapodClient({ url: server.url, WebSocket });
  for (const model of models) whole.set(model, (await first.generate(request(model)).result).text);

  const isAtRest = () => runnersOf(server.pid).length === residentAndSpare;
  await until(isAtRest);
  const before = await takenBy(server);
  const stop = new AbortController();
  const counts = { answers: 0, crashed: 0, interruptions: 0 };
  /** Streams that have ended an answer since runners were last killed. */
  const recovered = new Set<string>();
  const asking = models.flatMap((model) =>
    Array.from({ length: streamsOfEach }, async (_, stream) => {
      using client = new LlamapodClient({ url: server.url, WebSocket });
      while (!stop.signal.aborted) {
        try {
          const { text, timings } = await client.generate(request(model)).result;
          assert.equal(text, whole.get(model));
          counts.answers++;
          recovered.add(`${model} ${stream}`);
          counts.interruptions += timings.interruptions;
        } catch (thrown) {
          if (!(thrown instanceof ClientError) || thrown.code !== "runner_crashed") throw thrown;
          counts.crashed++;
        }
      }
    }),
  );
  const failed = Promise.all(asking);
  const switching = (async () => {
    const states: Record<string, number> = {};
    for (let index = 1; index <= switches; index++) {
      const { state } = await operator.run("switch", models[index % models.length] ?? models[0]);
      states[state] = (states[state] ?? 0) + 1;
      const answers = counts.answers + 2;
      await until(() => counts.answers >= answers);
      if (index % killEvery !== 0) continue;
      // Two deaths under the same answer would end it: it works alone here, and would rightly be blamed.
      await until(() => recovered.size === models.length * streamsOfEach);
      recovered.clear();
      for (const runner of runnersOf(server.pid)) process.kill(runner, "SIGKILL");
    }
    stop.abort();
    return states;
  })();
  const [states] = await Promise.all([switching, failed]);
  context.diagnostic(JSON.stringify({ ...counts, switches: states }));
  assert.equal(counts.crashed, 0, "an answer was blamed for what others did");
  assert.ok(counts.answers >= 2 * switches && counts.interruptions > 0);
  // A runner that is killed while it loads fails its switch, and nothing else.
  assert.ok((states["done"] ?? 0) >= switches * 0.7, JSON.stringify(states));
  await until(isAtRest);
  const after = await takenBy(server);
  context.diagnostic(JSON.stringify({ before, after }));
  assertNothingLeft(before, after);
});
