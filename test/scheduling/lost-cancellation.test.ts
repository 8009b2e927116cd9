import assert from "node:assert/strict";
import { test } from "node:test";
import { loadConfig } from "../../src/config.ts";
import { passiveTracing } from "../../src/health/tracing/passive.ts";
import { Generations } from "../../src/stream/generations.ts";
import { silent } from "../support/service.ts";
import { PoolWorld } from "./pool-world.ts";

test("an answer whose grace time passes before its model is found is cancelled all the same", async () => {
  using world = new PoolWorld({ a: 1 });
  const runner = await world.serve("a");
  let read: () => void = () => undefined;
  world.catalogueIsRead = new Promise((resolve) => {
    read = resolve;
  });
  const settings = { limits: loadConfig(undefined, {}, {}), graceMs: 1_000, retentionMs: 1_000, prefixCache: "key" as const };
  const generations = new Generations(world.pool, world.metrics, silent, settings);
  const span = passiveTracing.serve("a test", {}, 0);
  const origin = { endpoint: "stream" as const, transport: "ws" as const, requestId: "of-a-test", span };
  const request = {
    model: "a",
    prompt: { kind: "text" as const, text: "x" },
    sampling: {},
    maxTokens: 1,
    stop: [],
    ignoreEndOfTurn: false,
    priority: 0,
    format: undefined,
  };
  generations.begin("somebody", "abandoned", origin, request);
  generations.readersChanged("somebody", "abandoned");
  await world.pass(1_100);
  read();
  await world.flush();
  const [job] = runner.running.keys();
  assert.ok(job === undefined || runner.cancelled.has(job), "nobody reads it, and it goes on");
});
