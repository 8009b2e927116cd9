import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { loadConfig } from "../../src/config.ts";
import { passiveTracing } from "../../src/health/tracing/passive.ts";
import { Responder } from "../../src/server/openai/responses/responder.ts";
import { ResponsesSession } from "../../src/server/openai/responses/session.ts";
import { Generations } from "../../src/stream/generations.ts";
import { Session, type Transport } from "../../src/stream/session.ts";
import { PoolWorld } from "../scheduling/pool-world.ts";

const caller = { id: "somebody", scopes: new Set(["chat", "admin"] as const) };
const correlation = { requestId: "request-1", span: passiveTracing.serve("test", {}, 0) };
const limits = loadConfig(undefined, {}, {});
const canary = "canary0f2b";

/** What sessions work with, and what they log and send. */
class World implements Disposable {
  readonly lines: string[] = [];
  readonly sent: string[] = [];
  readonly log = pino({ level: "info" }, { write: (line: string) => this.lines.push(line) });
  readonly pools = new PoolWorld({ a: 1 });
  readonly generations = new Generations(this.pools.pool, this.pools.metrics, this.log, {
    limits,
    prefixCache: "key",
    graceMs: 0,
    retentionMs: 0,
  });
  readonly transport: Transport = {
    congested: false,
    send: (text) => void this.sent.push(text),
    close: () => assert.fail("the connection lives"),
  };

  /** The one cause that was logged, which a client has been told of as a mistake of the server's. */
  assertLogged(cause: string): void {
    assert.ok(
      this.sent.some((text) => text.includes('"internal"')),
      this.sent.join("\n"),
    );
    const causes = this.lines.filter((line) => line.includes("request failed"));
    assert.equal(causes.length, 1, this.lines.join(""));
    assert.ok(causes[0]?.includes(cause) === true && causes[0].includes("request-1"), causes[0]);
    assert.ok(!this.lines.join("").includes(canary), this.lines.join(""));
  }

  [Symbol.dispose](): void {
    this.pools[Symbol.dispose]();
  }
}

function session({ log, pools, generations, transport }: World, cause: string): Session {
  const switchTo = () => Promise.reject(new Error(cause));
  const { pool, metrics } = pools;
  return new Session(transport, caller, { log, metrics, correlation, generations, pool, server: "test", limits, switchTo });
}

test("what a message failed of by the server's mistake is in the log", async () => {
  using world = new World();
  session(world, "the disk is on fire").receive(JSON.stringify({ type: "switch", model: canary }));
  await world.pools.flush();
  world.assertLogged("the disk is on fire");
});

test("what an answer failed of by the server's mistake is in the log, and the prompt is not", async () => {
  using world = new World();
  // A catalogue that throws what no client should see.
  session(world, "").receive(JSON.stringify({ type: "generate", id: "x", model: "unheard-of", prompt: canary }));
  await world.pools.flush();
  world.assertLogged("there is no model unheard-of");
});

test("what a response failed of by the server's mistake is in the log, on OpenAI's WebSocket too", async () => {
  using world = new World();
  await world.pools.serve("a");
  const { log, pools, generations } = world;
  const failing: Transport = {
    ...world.transport,
    get congested(): boolean {
      throw new Error("the wire has melted");
    },
  };
  const { metrics, pool } = pools;
  const context = { responder: new Responder({ generations, pool }), limits, metrics: metrics.connections, log, correlation };
  new ResponsesSession(failing, caller, context).receive(JSON.stringify({ type: "response.create", input: canary }));
  const runner = await pools.runner("a");
  const [id = ""] = runner.running.keys();
  runner.produce(id);
  await world.pools.flush();
  world.assertLogged("the wire has melted");
});

test("what is nested without end is the client's mistake", () => {
  using world = new World();
  const deep = (message: object) => JSON.stringify(message).replace('"DEEP"', "[".repeat(200_000) + "]".repeat(200_000));
  const { log, pools, generations, transport } = world;
  session(world, "").receive(
    deep({ type: "generate", id: "x", messages: [{ role: "assistant", content: canary, parsed: "DEEP" }] }),
  );
  const { metrics, pool } = pools;
  const context = { responder: new Responder({ generations, pool }), limits, metrics: metrics.connections, log, correlation };
  new ResponsesSession(transport, caller, context).receive(deep({ type: "response.create", input: canary, user: "DEEP" }));
  const codes = world.sent.slice(1).map((text) => /"code":"(\w+)"/.exec(text)?.[1]);
  assert.deepEqual(codes, ["invalid_message", "invalid_message"]);
  assert.deepEqual(world.lines, []);
});
