import { deepEqual, equal, ok } from "node:assert/strict";
import { describe, it } from "node:test";
import { LlamapodClient, type ConnectionState } from "llamapod/client";
import { Cable } from "../support/cable.ts";
import { CheckedSocket as WebSocket } from "../support/checked-socket.ts";
import { startService } from "../support/service.ts";

describe("llamapod/client under strain", { timeout: 120_000 }, () => {
  it("takes up more answers than the server takes messages in a second", async () => {
    await using service = await startService(["llama"], { maxMessagesPerSecond: 20 });
    await using cable = await Cable.to(service.url);
    let opened = 0;
    const onConnection = ({ kind }: ConnectionState) => {
      if (kind === "open") opened++;
    };
    using client = new LlamapodClient({ url: cable.url, WebSocket, onConnection });
    const answer = client.generate({ prompt: "Once", max_tokens: 500, temperature: 0 });
    cable.isSlow = true;
    let stopped: PromiseLike<void> | undefined;
    let text = "";
    let cuts = 0;
    for await (const event of answer) {
      if (event.type !== "delta") continue;
      text += event.text;
      stopped ??= service[Symbol.asyncDispose]();
      // The second connection has been told, before anything else, that the server is about to stop.
      if (cuts === 2 || cuts === opened) continue;
      cuts++;
      cable.cut();
      cable.isSlow = cuts < 2;
    }
    equal(cuts, 2);
    ok(stopped !== undefined);
    await stopped;
    const { finishReason, usage, ...result } = await answer.result;
    deepEqual([finishReason, usage.completion_tokens], ["length", 500]);
    equal(result.text, text);
  });
});
