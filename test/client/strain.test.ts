import { equal } from "node:assert/strict";
import { it } from "node:test";
import { LlamapodClient, type ConnectionState } from "llamapod/client";
import { Cable } from "../support/cable.ts";
import { CheckedSocket as WebSocket } from "../support/checked-socket.ts";
import { startService } from "../support/service.ts";

it("llamapod/client takes up more answers than the server takes messages in a second", { timeout: 120_000 }, async () => {
  await using service = await startService(["llama"], { maxMessagesPerSecond: 20 });
  await using cable = await Cable.to(service.url);
  let opened = 0;
  // The first connection breaks as soon as it stands, and all answers have to be taken up over the second.
  const onConnection = ({ kind }: ConnectionState) => {
    if (kind === "open" && ++opened === 1) cable.cut();
  };
  using client = new LlamapodClient({ url: cable.url, WebSocket, onConnection });
  const answers = Array.from({ length: 60 }, (_, index) => {
    return client.generate({ prompt: `Number ${index}`, max_tokens: 20, temperature: 0 });
  });
  const results = await Promise.all(answers.map(({ result }) => result));
  for (const { finishReason, usage } of results) equal(`${finishReason} ${usage.completion_tokens}`, "length 20");
  equal(opened, 2);
});
