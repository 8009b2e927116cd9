import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { test } from "node:test";
import { ClientError, LlamapodClient } from "llamapod/client";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { CheckedSocket as WebSocket } from "../support/checked-socket.ts";
import { Operator } from "../support/operator.ts";
import { runnersOf, until } from "../support/processes.ts";
import { modelsFolder } from "../support/service.ts";
import { assertAbout, assertNoneLeft, MeasuredServer, tolerated } from "../support/taken.ts";

/** Few, unless `SOAK_SWITCHES` says how many. */
const switches = Number(process.env["SOAK_SWITCHES"] ?? 12);
const killEvery = Math.min(10, Math.ceil(switches / 3));
/** Until a server has compiled what it uses, and a runner has had both models again and again: see docs/benchmarks.md. */
const warmUpSwitches = 20;
const models = ["gpt2", "gemma2"] as const;
const streamsOfEach = 4;
const tokens = 150;

/** Runners where nobody asks. */
const residentAndSpare = 2;

const share = switches < 100 ? tolerated.short : tolerated.long;

const limit = { timeout: 60_000 + 2 * (warmUpSwitches + switches) * 10_000 };

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
  await using measured = await MeasuredServer.start(["--models-dir", folder, ...flags, "--min-residency-seconds", "1"]);
  const server = measured.process;
  const operator = new Operator(server.url);
  const request = (model: string) => ({
    model,
    messages: [{ role: "user" as const, content: "Tell me a story." }],
    temperature: 0,
    max_tokens: tokens,
  });
  const whole = new Map<string, string>();
  {
    using first = new LlamapodClient({ url: server.url, WebSocket });
    for (const model of models) whole.set(model, (await first.generate(request(model)).result).text);
  }

  /** Switches under steady streams. @param interlude what happens after each, when it has to wait for every stream first */
  const round = async (count: number, interlude: (index: number, recovered: () => Promise<void>) => Promise<void>) => {
    const stop = new AbortController();
    const counts = { answers: 0, crashed: 0, interruptions: 0 };
    const states: Record<string, number> = {};
    /** Streams that have ended an answer since somebody began to wait for all. */
    const recovered = new Set<string>();
    const allRecovered = async () => {
      recovered.clear();
      await until(() => stop.signal.aborted || recovered.size === models.length * streamsOfEach);
    };
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
            if (!(thrown instanceof ClientError) || thrown.code !== "runner_crashed") {
              stop.abort(thrown);
              throw thrown;
            }
            counts.crashed++;
          }
        }
      }),
    );
    const switching = async () => {
      for (let index = 1; index <= count && !stop.signal.aborted; index++) {
        const { state } = await operator.run("switch", models[index % models.length] ?? models[0]);
        states[state] = (states[state] ?? 0) + 1;
        const answers = counts.answers + 2;
        await until(() => stop.signal.aborted || counts.answers >= answers);
        await interlude(index, allRecovered);
      }
      stop.abort();
    };
    await Promise.all([switching(), ...asking]);
    return { ...counts, states };
  };
  const quiet = () => Promise.resolve();

  await round(warmUpSwitches, quiet);
  const young = await measured.atRest(residentAndSpare);
  await round(switches, quiet);
  const before = await measured.atRest(residentAndSpare);
  context.diagnostic(JSON.stringify({ young, before }));
  assertAbout("runnerBytes", young, before, share);
  let killed = 0;
  const disturbed = await round(switches, async (index, recovered) => {
    if (index % killEvery !== 0) return;
    // Two deaths under the same answer would end it: it works alone then, and would rightly be blamed.
    await recovered();
    const runners = runnersOf(server.pid);
    const victim = runners[Math.floor(Math.random() * runners.length)];
    if (victim === undefined) return;
    process.kill(victim, "SIGKILL");
    killed++;
  });
  context.diagnostic(JSON.stringify({ ...disturbed, killed }));
  assert.equal(disturbed.crashed, 0, "an answer was blamed for what others did");
  assert.ok(killed >= Math.floor(switches / killEvery) - 1 && disturbed.interruptions > 0);
  assert.ok(disturbed.answers >= 2 * switches);
  // A runner that is killed while it loads fails its switch, and nothing else.
  assert.ok((disturbed.states["done"] ?? 0) >= switches - killed, JSON.stringify(disturbed.states));
  // Runners that took the place of killed ones have had both models as often then as the first ones had.
  await round(warmUpSwitches, quiet);
  const after = await measured.atRest(residentAndSpare);
  context.diagnostic(JSON.stringify({ before, after }));
  assertAbout("bytes", before, after, share);
  // Others have other addresses, and other pages of 2 MiB: some of it is chance.
  assertAbout("runnerBytes", before, after, tolerated.short);
  assertNoneLeft(before, after);
});
