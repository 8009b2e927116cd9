import assert from "node:assert/strict";
import { test } from "node:test";
import { Answer, greedy, StreamClient } from "../support/stream-client.ts";
import { startService } from "../support/service.ts";

/** More than the socket buffers of both ends hold, as copies of one ended answer. */
const backlogBytes = 24 * 1024 * 1024;

test("a reader that has stopped reading slows nobody, and catches up in few frames", { timeout: 60_000 }, async () => {
  await using service = await startService(["llama"], { maxMessagesPerSecond: 100_000 });
  using fast = await StreamClient.connect(service.url);
  const { text } = await fast.generate(greedy("backlog", 1_000));
  const undisturbed = await fast.generate(greedy("reference", 400));

  using slow = await StreamClient.connect(service.url);
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

  slow.socket.resume();
  const late = new Answer("slow");
  await slow.readTo(late);
  assert.equal(late.text, undisturbed.text);
  const frames = slow.received.filter((message) => message.type === "delta" && message.id === "slow");
  assert.equal(frames.length, 1, "what had piled up came as one delta");
});

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
