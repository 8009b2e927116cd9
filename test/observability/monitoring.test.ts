import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parse } from "yaml";
import { z } from "zod";
import { errorCodes } from "../../src/protocol/errors.ts";
import { until } from "../support/processes.ts";
import { startService, type RunningService } from "../support/service.ts";
import { greedy, StreamClient } from "../support/stream-client.ts";
import { readDashboard } from "./dashboard.ts";
import { monitoring, Prometheus, skipWithoutPrometheus, type Sample } from "./prometheus.ts";
import { makeTraffic } from "./traffic.ts";

/** Rounds of traffic after which every expression has long had an answer. */
const mostRounds = 40;

const rule = z.object({ record: z.string().optional(), alert: z.string().optional(), expr: z.string() });
const rules = ["recording", "alerts"].flatMap((file) => {
  const { groups } = z
    .object({ groups: z.array(z.object({ rules: z.array(rule) })) })
    .parse(parse(readFileSync(join(monitoring, "rules", `${file}.yml`), "utf8")));
  return groups.flatMap((group) => group.rules);
});

describe("monitoring", { skip: skipWithoutPrometheus }, () => {
  let service: RunningService;
  let prometheus: Prometheus;

  before(async () => {
    service = await startService(["llama", "gpt2"], { slots: 2, maxQueue: 4 });
    prometheus = await Prometheus.start(service.url);
  });
  after(async () => {
    await prometheus[Symbol.asyncDispose]();
    await service[Symbol.asyncDispose]();
  });

  test("the rules pass their own tests, and promtool's lint", () => {
    promtool("check", "config", join(monitoring, "prometheus.yml"));
    promtool("check", "rules", "--lint=all", "--lint-fatal", ...files("recording", "alerts"));
    promtool("test", "rules", join(monitoring, "rules.test.yml"));
  });

  test("every alert has a test of its own", () => {
    const tests = readFileSync(join(monitoring, "rules.test.yml"), "utf8");
    const alerts = rules.flatMap(({ alert }) => alert ?? []);
    assert.deepEqual(
      alerts.filter((alert) => !tests.includes(`alertname: ${alert}\n`)),
      [],
    );
  });

  test("errors that rules name are errors that there are", () => {
    const named = rules.flatMap(({ expr }) =>
      [...expr.matchAll(/\bcode=~"([^"]*)"/g)].flatMap(([, codes = ""]) => codes.split("|")),
    );
    assert.ok(named.length > 0);
    const known: readonly string[] = errorCodes;
    assert.deepEqual(
      named.filter((code) => !known.includes(code)),
      [],
    );
  });

  test("a bucket whose bound is a whole number is found as Prometheus 2 writes it, and as Prometheus 3 does", () => {
    const expressions = [
      ...readDashboard().panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
      ...rules.map(({ expr }) => expr),
    ];
    const matchers = expressions.flatMap((expression) => [...expression.matchAll(/\ble(=~?)("[^"]*")/g)]);
    assert.ok(matchers.length > 0);
    for (const [matcher, operator = "", quoted = ""] of matchers) {
      const value = z.string().parse(JSON.parse(quoted));
      const finds = (bound: string) => (operator === "=" ? bound === value : new RegExp(`^(?:${value})$`).test(bound));
      for (const bound of [1, 2, 5, 10, 20, 40, 80]) assert.equal(finds(`${bound}.0`), finds(String(bound)), matcher);
    }
  });

  test("the compose file mounts what there is", () => {
    const folder = join(monitoring, "..");
    const { services } = z
      .object({ services: z.record(z.string(), z.object({ volumes: z.array(z.string()).default([]) })) })
      .parse(parse(readFileSync(join(folder, "podman-compose.monitoring.yml"), "utf8")));
    const mounted = Object.values(services).flatMap(({ volumes }) => volumes.filter((volume) => volume.startsWith("./")));
    assert.ok(mounted.length >= 4);
    for (const volume of mounted) assert.ok(existsSync(join(folder, volume.split(":")[0] ?? "")), volume);
  });

  test("the share of errors is 0 where only clients have made mistakes", async () => {
    const [{ expr } = assert.fail("there is no such panel")] =
      readDashboard().panels.find(({ type, title }) => type === "stat" && title === "Errors")?.targets ?? [];
    using client = await StreamClient.connect(service.url);
    let answered: readonly Sample[] = [];
    let round = 0;
    // A rate needs two scrapes.
    await until(async () => {
      await client.generate(greedy(`good-${++round}`, 12));
      client.send({ type: "generate", ...greedy(`bad-${round}`, 12), model: "none" });
      await client.take("error", `bad-${round}`);
      answered = await prometheus.query(expr);
      return answered.length > 0;
    });
    assert.deepEqual(
      answered.map(({ value: [, share] }) => share),
      ["0"],
    );
  });

  test("a real Prometheus has an answer to every panel and every recording rule", async () => {
    const expressions = [
      ...readDashboard().panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
      ...rules.flatMap(({ record, expr }) => (record === undefined ? [] : [record, expr])),
    ];
    assert.ok(expressions.length > 60);
    let unanswered: readonly string[] = expressions;
    for (let round = 0; unanswered.length > 0 && round < mostRounds; round++) {
      await makeTraffic(service.url, round);
      const answered = await Promise.all(unanswered.map((expression) => hasAnswer(expression)));
      unanswered = unanswered.filter((_, index) => answered[index] !== true);
    }
    assert.deepEqual(unanswered, []);
  });

  test("alerts and annotations are understood, and name only what there is", async () => {
    const names = z.array(z.string()).parse(await prometheus.get("label/__name__/values"));
    for (const expression of [...rules.map(({ expr }) => expr), ...readDashboard().annotations]) {
      await prometheus.query(expression);
      const named = expression.match(/\b(?:model:)?llamapod_\w+(?::\w+)?/g) ?? [];
      assert.deepEqual(
        named.filter((name) => !names.includes(name)),
        [],
        expression,
      );
    }
    const { groups } = z
      .object({ groups: z.array(z.object({ rules: z.array(z.object({ name: z.string(), health: z.string() })) })) })
      .parse(await prometheus.get("rules"));
    assert.deepEqual(
      groups.flatMap((group) => group.rules).filter(({ health }) => health !== "ok"),
      [],
    );
  });

  test("exemplars lead from a bucket to a request", async () => {
    const now = Date.now() / 1_000;
    const range = { start: String(now - 600), end: String(now + 1) };
    const query = "llamapod_time_to_first_token_seconds_bucket";
    const exemplars = z
      .array(z.object({ exemplars: z.array(z.object({ labels: z.record(z.string(), z.string()) })) }))
      .parse(await prometheus.get("query_exemplars", { query, ...range }));
    assert.match(exemplars[0]?.exemplars[0]?.labels["request_id"] ?? "", /^[0-9a-f-]{36}$/);
  });

  async function hasAnswer(expression: string): Promise<boolean> {
    return (await prometheus.query(expression)).some(({ value: [, value] }) => value !== "NaN");
  }
});

function files(...names: readonly string[]): string[] {
  return names.map((name) => join(monitoring, "rules", `${name}.yml`));
}

function promtool(...args: readonly string[]): void {
  const { status, stdout, stderr } = spawnSync("promtool", args, { encoding: "utf8" });
  assert.equal(status, 0, stdout + stderr);
}
