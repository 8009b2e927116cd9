import { deepEqual, rejects } from "node:assert/strict";
import { describe, it } from "node:test";
import { LlamapodClient } from "llamapod/client";
import { CheckedSocket as WebSocket } from "../support/checked-socket.ts";
import { ScriptedServer } from "../support/scripted-server.ts";

function clientOf({ url }: ScriptedServer): LlamapodClient {
  return new LlamapodClient({ url, WebSocket });
}

describe("a switch", { timeout: 60_000 }, () => {
  const refusal = { type: "error", message: "No.", retryable: false } as const;

  it("is refused by the error that names it, and by no other", async () => {
    await using server = await ScriptedServer.start();
    using client = clientOf(server);
    const changes = ["one", "nobody", "two"].map((model) => client.switchTo(model));
    for (const { model } of changes) deepEqual(await server.take("switch"), { type: "switch", model });
    server.say({ ...refusal, code: "too_many_messages" });
    server.say({ ...refusal, code: "model_not_found", model: "nobody", param: "model" });
    server.say({ ...refusal, code: "insufficient_memory", model: "two" });
    server.say({ type: "model", id: "one", state: "ready", active: true, rev: 1 });
    const [one, nobody, two] = changes;
    await rejects(nobody?.result ?? Promise.resolve(), { code: "model_not_found", param: "model" });
    await rejects(two?.result ?? Promise.resolve(), { code: "insufficient_memory" });
    await one?.result;
  });
});
