import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import type { ServerMessage } from "../../src/protocol/stream.ts";
import { StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

/**
 * Conversations as clients of v1 have them. They are never changed, only added to: a server that cannot hold one of them breaks the
 * clients that do. What the model says and how long it takes is not part of them.
 */
type Line =
  | { readonly client: object }
  /** What has to be in the next message that is no delta, no `queued` and no `model`. */
  | { readonly server: Readonly<Record<string, unknown>> }
  /** The deltas of an answer up to its end, which may come merged. */
  | { readonly deltas: { readonly id: string; readonly tokens: number; readonly first: number } }
  /** The deltas of an answer that has nothing but calls, up to its end. */
  | { readonly calls: { readonly id: string; readonly names: readonly string[] } }
  | { readonly reconnect: true };

const folder = new URL("../../../test/contract/transcripts/", import.meta.url);

describe("transcripts of llamapod.v1", () => {
  let service: RunningService;

  before(async () => {
    service = await startService(["llama"]);
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  for (const file of readdirSync(folder)) {
    test(file.replace(/\.jsonl$/, "").replaceAll("-", " "), async () => {
      const lines = readFileSync(new URL(file, folder), "utf8").trim().split("\n");
      let client = await StreamClient.connect(service.url);
      for (const line of lines.map((text) => JSON.parse(text) as Line)) {
        if ("client" in line) client.socket.send(JSON.stringify(line.client));
        else if ("server" in line) assertContains(await next(client), line.server);
        else if ("deltas" in line) await readDeltas(client, line.deltas);
        else if ("calls" in line) await readCalls(client, line.calls);
        else {
          client[Symbol.dispose]();
          client = await StreamClient.connect(service.url);
        }
      }
      client[Symbol.dispose]();
    });
  }
});

function assertContains(actual: object, expected: object): void {
  const fields: Readonly<Record<string, unknown>> = { ...actual };
  for (const [name, value] of Object.entries(expected) as [string, unknown][]) {
    const found = fields[name];
    if (typeof value !== "object" || value === null) assert.equal(found, value, `${name} in ${JSON.stringify(actual)}`);
    else if (typeof found === "object" && found !== null) assertContains(found, value);
    else assert.fail(`${name} is missing in ${JSON.stringify(actual)}`);
  }
}

function next(client: StreamClient): Promise<ServerMessage> {
  return client.takeWhere(({ type }) => type !== "queued" && type !== "model");
}

async function readCalls(client: StreamClient, { id, names }: { id: string; names: readonly string[] }): Promise<void> {
  const begun: string[] = [];
  let text = "";
  for (;;) {
    const message = await next(client);
    assert.ok(message.type === "delta" && message.id === id && message.text === "", JSON.stringify(message));
    for (const { index, id: callId, function: call } of message.tool_calls ?? []) {
      if (callId !== undefined) begun.push(call.name ?? "");
      assert.equal(index, begun.length - 1);
      text += call.arguments;
      if (begun.length < names.length || !isWhole(text)) continue;
      assert.deepEqual(begun, names);
      return;
    }
  }
}

async function readDeltas(
  client: StreamClient,
  { id, tokens, first }: { id: string; tokens: number; first: number },
): Promise<void> {
  let counted = 0;
  for (let expected = first; counted < tokens;) {
    const message = await next(client);
    assert.ok(message.type === "delta" && message.id === id, JSON.stringify(message));
    assert.equal(message.first, expected);
    assert.equal(typeof message.text, "string");
    expected = message.seq + 1;
    counted += message.n;
  }
  assert.equal(counted, tokens);
}

function isWhole(argumentsText: string): boolean {
  try {
    JSON.parse(argumentsText);
    return true;
  } catch {
    return false;
  }
}
