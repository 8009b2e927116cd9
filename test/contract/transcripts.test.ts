import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import type { ServerMessage } from "../../src/protocol/stream.ts";
import { sample, scrape } from "../support/metrics.ts";
import { until } from "../support/processes.ts";
import { StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

/**
 * Conversations as clients of v1 have them. They are never changed, only added to: a server that cannot hold one of them breaks the
 * clients that do. What the model says and how long it takes is not part of them.
 */
type Line =
  | { readonly client: object }
  /** What has to be in the next message that is no delta, no `queued` and no `model`; and of what type what else is in it has to be. */
  | { readonly server: Readonly<Record<string, unknown>>; readonly types?: Readonly<Record<string, unknown>> }
  /** Any number of `model` messages, the last of which has this in it. */
  | { readonly model: Readonly<Record<string, unknown>> }
  /** The deltas of an answer up to its end, which may come merged. */
  | { readonly deltas: { readonly id: string; readonly tokens: number; readonly first: number } }
  /** The deltas of an answer that has nothing but calls, up to its end. */
  | { readonly calls: { readonly id: string; readonly names: readonly string[] } }
  /** Any number of deltas, and then a message that has this in it. */
  | { readonly deltasThen: Readonly<Record<string, unknown>> }
  | { readonly reconnect: true }
  /** The lines after it are of the connection of this name, which begins when it is first named. The one at the start is `first`. */
  | { readonly connection: string }
  /** The operator stops the server, which lets running answers end. */
  | { readonly stop: true }
  /** The server closes the connection. */
  | { readonly closed: number };

const folder = new URL("../../../test/contract/transcripts/", import.meta.url);

describe("transcripts of llamapod.v1", () => {
  let shared: RunningService;

  before(async () => {
    shared = await startService(["llama"]);
  });
  after(async () => {
    await shared[Symbol.asyncDispose]();
  });

  for (const file of readdirSync(folder)) {
    const lines = readFileSync(new URL(file, folder), "utf8").trim().split("\n");
    const transcript = lines.map((line) => JSON.parse(line) as Line);
    test(file.replace(/\.jsonl$/, "").replaceAll("-", " "), { timeout: 120_000 }, async () => {
      if (transcript.some((line) => "stop" in line)) await hold(await startService(["llama"], { drainSeconds: 60 }), transcript);
      else if (transcript.some((line) => "model" in line)) {
        await using own = await startService(["llama", "gpt2"]);
        await hold(own, transcript);
      } else await hold(shared, transcript);
    });
  }
});

async function hold(service: RunningService, transcript: readonly Line[]): Promise<void> {
  let name = "first";
  let client = await StreamClient.connect(service.url);
  const clients = new Map([[name, client]]);
  let stopped: PromiseLike<void> | undefined;
  for (const line of transcript) {
    if ("client" in line) client.socket.send(JSON.stringify(line.client));
    else if ("server" in line) {
      const message = await next(client);
      assertContains(message, line.server);
      assertTypes(message, line.types ?? {});
    } else if ("model" in line) await client.takeWhere((message) => message.type === "model" && contains(message, line.model));
    else if ("deltas" in line) await readDeltas(client, line.deltas);
    else if ("deltasThen" in line) assertContains(await nextBut(client, "delta"), line.deltasThen);
    else if ("calls" in line) await readCalls(client, line.calls);
    else if ("stop" in line) stopped = service[Symbol.asyncDispose]();
    else if ("closed" in line) assert.equal(await client.closed, line.closed);
    else {
      if ("connection" in line) ({ connection: name } = line);
      else await disconnect(service, client);
      const other = "connection" in line ? clients.get(name) : undefined;
      client = other ?? (await StreamClient.connect(service.url));
      clients.set(name, client);
    }
  }
  for (const each of clients.values()) each[Symbol.dispose]();
  await stopped;
}

/** Until the server has noticed, too: what comes over the next connection may depend on it. */
async function disconnect({ url }: RunningService, client: StreamClient): Promise<void> {
  const connections = async () => sample(await scrape(url), "llamapod_ws_connections");
  const before = await connections();
  client[Symbol.dispose]();
  await until(async () => (await connections()) < before);
}

function assertContains(actual: object, expected: object): void {
  const fields: Readonly<Record<string, unknown>> = { ...actual };
  for (const [name, value] of Object.entries(expected) as [string, unknown][]) {
    const found = fields[name];
    if (typeof value !== "object" || value === null) assert.equal(found, value, `${name} in ${JSON.stringify(actual)}`);
    else if (typeof found === "object" && found !== null) assertContains(found, value);
    else assert.fail(`${name} is missing in ${JSON.stringify(actual)}`);
  }
}

function contains(actual: object, expected: object): boolean {
  return Object.entries(expected).every(([name, value]) => (actual as Readonly<Record<string, unknown>>)[name] === value);
}

/** @param types as `typeof` has them, in the place of the values */
function assertTypes(actual: object, types: object): void {
  const fields: Readonly<Record<string, unknown>> = { ...actual };
  for (const [name, type] of Object.entries(types) as [string, unknown][]) {
    const found = fields[name];
    if (typeof type === "object" && type !== null && typeof found === "object" && found !== null) assertTypes(found, type);
    else assert.equal(typeof found, type, `${name} in ${JSON.stringify(actual)}`);
  }
}

function next(client: StreamClient): Promise<ServerMessage> {
  return nextBut(client);
}

/** The next message that tells neither of models nor of the queue, and is not of the types that are left out. */
function nextBut(client: StreamClient, ...leftOut: readonly ServerMessage["type"][]): Promise<ServerMessage> {
  return client.takeWhere(({ type }) => ![...leftOut, "queued", "model"].includes(type));
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
    assertTypes(message, { text: "string", t: "number" });
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
