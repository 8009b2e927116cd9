import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { test } from "node:test";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { ServerProcess } from "../support/processes.ts";
import { residentMemory } from "../support/runner-memory.ts";
import { modelsFolder } from "../support/service.ts";
import { Answer, greedy, StreamClient } from "../support/stream-client.ts";

const mebibyte = 1024 * 1024;

/** Copies of one ended answer: much more than the socket buffers of both ends hold, and than the server may grow by. */
const backlogBytes = 256 * mebibyte;
const growthBytes = 64 * mebibyte;

/** So that nothing else bounds what waits for it. */
const limits = ["--max-messages-per-second", "1000000", "--max-buffered-bytes", "1000000000"];

test(
  "a reader that has stopped reading slows nobody, takes no memory, and catches up in few frames",
  { timeout: 120_000 },
  async (t) => {
    const folder = await modelsFolder({ llama: await tinyModel("llama") });
    t.after(() => rm(folder, { recursive: true }));
    await using server = await ServerProcess.start(["--models-dir", folder, "--model", "llama", ...limits]);
    using fast = await StreamClient.connect(server.url);
    const { text } = await fast.generate(greedy("backlog", 1_000));
    const undisturbed = await fast.generate(greedy("reference", 400));

    const { peak } = await residentMemory(server.pid);

    using slow = await StreamClient.connect(server.url);
    await slow.take("hello");
    slow.socket.pause();
    for (let sent = 0; sent < backlogBytes; sent += text.length) slow.send({ type: "resume", id: "backlog", after: 0 });
    slow.send({ type: "generate", ...greedy("slow", 400) });

    // Its answer is made all the same, as another connection can see, and so is anybody else's.
    const watched = new Answer("slow");
    await retried(fast, watched);
    const own = await fast.generate(greedy("fast", 400));
    assert.equal(watched.text, undisturbed.text);
    assert.equal(own.text, undisturbed.text);
    const grownBytes = (await residentMemory(server.pid)).peak - peak;
    assert.ok(grownBytes < growthBytes, `the server has grown by ${grownBytes / mebibyte} MiB`);

    slow.socket.resume();
    const late = new Answer("slow");
    await slow.readTo(late);
    assert.equal(late.text, undisturbed.text);
    const frames = slow.received.filter((message) => message.type === "delta" && message.id === "slow");
    assert.equal(frames.length, 1, "what had piled up came as one delta");
  },
);

/** Reads a generation that another connection may not have begun yet. */
async function retried(client: StreamClient, answer: Answer): Promise<void> {
  for (;;) {
    client.send({ type: "resume", id: answer.id, after: 0 });
    const message = await client.takeWhere((candidate) => "id" in candidate && candidate.id === answer.id);
    if (message.type === "error") continue;
    answer.apply(message);
    await client.readTo(answer);
    return;
  }
}
