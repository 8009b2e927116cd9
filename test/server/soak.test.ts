import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ClientError, LlamapodClient } from "llamapod/client";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { CheckedSocket as WebSocket } from "../support/checked-socket.ts";
import { Cable } from "../support/cable.ts";
import { runnersOf, until } from "../support/processes.ts";
import { modelsFolder } from "../support/service.ts";
import { assertAbout, assertNoneLeft, MeasuredServer, tolerated } from "../support/taken.ts";

/** Short, unless `SOAK_MINUTES` says how long. */
const minutes = Number(process.env["SOAK_MINUTES"] ?? 0.15);
const clients = 4;
const tokens = 120;

const limit = { timeout: (minutes + 3) * 60_000 };

test("clients whose connections are cut, and runners that are killed, leave nothing behind", limit, async (context) => {
  const folder = await modelsFolder({ llama: await tinyModel("llama") });
  context.after(() => rm(folder, { recursive: true }));
  // One slot and batches of one token: an answer is the same to the last bit, however often it has been interrupted.
  const flags = ["--retention-seconds", "1", "--grace-seconds", "5", "--slots", "1", "--batch-size", "1"];
  await using measured = await MeasuredServer.start(["--models-dir", folder, ...flags]);
  const server = measured.process;
  await using cable = await Cable.to(server.url);
  const request = { messages: [{ role: "user" as const, content: "Tell me a story." }], temperature: 0, max_tokens: tokens };
  let whole = "";
  {
    using first = new LlamapodClient({ url: server.url, WebSocket });
    whole = (await first.generate(request).result).text;
  }

  const round = async (seconds: number): Promise<{ answers: number; crashed: number }> => {
    let answers = 0;
    let crashed = 0;
    const deadline = performance.now() + seconds * 1_000;
    const asking = Array.from({ length: clients }, async () => {
      using client = new LlamapodClient({ url: cable.url, WebSocket });
      while (performance.now() < deadline) {
        try {
          assert.equal((await client.generate(request).result).text, whole);
          answers++;
        } catch (thrown) {
          // Killed twice under the same answer, which is then held to be the reason.
          if (!(thrown instanceof ClientError) || thrown.code !== "runner_crashed") throw thrown;
          crashed++;
        }
      }
    });
    const disturbing = (async () => {
      for (let count = 1; performance.now() < deadline; count++) {
        await sleep(200 + Math.random() * 400);
        cable.cut();
        // One that is killed while it starts, again and again, is given up, as it should be.
        const isUp = (await fetch(`${server.url}/health/ready`)).ok;
        if (count % 8 === 0 && isUp) for (const runner of runnersOf(server.pid)) process.kill(runner, "SIGKILL");
      }
    })();
    await Promise.all([...asking, disturbing]);
    return { answers, crashed };
  };

  /** What is taken with a runner that has just begun: one that has answered for a while has taken more. */
  const withNewRunner = async () => {
    const old = runnersOf(server.pid);
    for (const runner of old) process.kill(runner, "SIGKILL");
    await until(() => runnersOf(server.pid).every((runner) => !old.includes(runner)));
    return measured.atRest(1);
  };

  await round(3);
  const before = await withNewRunner();
  const { answers, crashed } = await round(minutes * 60);
  const after = await withNewRunner();
  context.diagnostic(`${answers} answers, ${crashed} given up; ${JSON.stringify({ before, after })}`);
  assert.ok(answers > 0);
  const share = minutes < 1 ? tolerated.short : tolerated.long;
  assertAbout("bytes", before, after, share);
  assertAbout("runnerBytes", before, after, share);
  assertNoneLeft(before, after);
});
