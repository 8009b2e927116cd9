import { deepEqual, equal, rejects } from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { LlamapodClient } from "llamapod/client";
import { CheckedSocket as WebSocket } from "../support/checked-socket.ts";
import { ScriptedServer } from "../support/scripted-server.ts";
import { delta, done, started } from "./world.ts";

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

describe("a text that did not match its hash, and is read once more", { timeout: 60_000 }, () => {
  /** Reads `first`, the hash of `second`, and then that. */
  async function readTwice(first: string, second: string): Promise<string> {
    await using server = await ScriptedServer.start();
    using client = clientOf(server);
    const answer = client.generate({ id: "g", prompt: "hi" });
    await server.take("generate");
    for (const message of [started(), delta(2, first)]) server.say(message);
    const end = done(3, createHash("sha256").update(second).digest("hex"));
    let text = "";
    for await (const event of answer) {
      if (event.type !== "delta") continue;
      text += event.text;
      if (text !== first) continue;
      server.say(end);
      await server.take("resume");
      for (const message of [started(), delta(2, second), end]) server.say(message);
    }
    return text;
  }

  it("goes on where the end was missing", async () => {
    equal(await readTwice("ab", "abc"), "abc");
  });

  for (const [what, second] of [
    ["longer", "axcd"],
    ["as long", "axc"],
    ["shorter", "ab"],
  ] as const) {
    it(`fails a loop that has given out another one, where it is ${what}`, async () => {
      await rejects(readTwice("abc", second), { code: "text_mismatch", retryable: true });
    });
  }
});
