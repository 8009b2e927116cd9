import assert from "node:assert/strict";
import { test } from "node:test";
import {
  collectDefaultMetrics,
  Counter,
  Gauge,
  Histogram,
  Registry,
  type OpenMetricsContentType,
  type RegistryContentType,
} from "prom-client";
import { expose } from "../../src/health/metrics/exposition.ts";

/** Some of everything that a registry can hold. */
function fill(registers: Registry<RegistryContentType>[]): void {
  new Counter({ name: "things_total", help: "Things.", labelNames: ["kind"], registers }).inc({ kind: 'a "b"\\c\nd' }, 3);
  new Counter({ name: "nothing_total", help: "Nothing yet.", registers });
  const gauge = new Gauge({ name: "level", help: "Level.", labelNames: ["of", "in"], registers });
  gauge.set({ of: "x", in: "y" }, -1.5e-9);
  gauge.set({ of: "x" }, Infinity);
  const histogram = new Histogram({
    name: "seconds",
    help: "Seconds.",
    labelNames: ["model"],
    buckets: [0.005, 1, 2.5],
    registers,
  });
  for (const value of [0.001, 2, 7]) histogram.observe({ model: "m" }, value);
}

/** A histogram that names requests. */
function trace(registry: Registry<OpenMetricsContentType>): void {
  const definition = { name: "traced", help: "Traced.", labelNames: ["model"], buckets: [1, 2.5], enableExemplars: true };
  const histogram = new Histogram<string>({ ...definition, registers: [registry] });
  for (const value of [2, 7]) histogram.observe({ labels: { model: "m" }, value, exemplarLabels: { request_id: `of-${value}` } });
  histogram.observe({ labels: { model: "other" }, value: 1 });
}

test("OpenMetrics is written as prom-client itself writes it", async () => {
  const registry = new Registry<OpenMetricsContentType>();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  fill([registry]);
  trace(registry);
  const text = await expose(registry, "openmetrics");
  assert.match(text, /traced_bucket\{le="2\.5",model="m"\} 1 # \{request_id="of-2"\} 2 \d+/);
  assert.equal(text, await registry.metrics());
});

test("so is plain text, but for empty lines", async () => {
  const registry = new Registry();
  fill([registry]);
  assert.equal(await expose(registry, "plain"), (await registry.metrics()).replaceAll("\n\n", "\n"));
});

test("each scrape is whole, whatever was asked for before", async () => {
  const registry = new Registry<OpenMetricsContentType>();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  collectDefaultMetrics({ register: registry });
  trace(registry);
  const names = async () => {
    const text = await expose(registry, "plain");
    assert.doesNotMatch(text, /request_id|# EOF/);
    return [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
  };
  const before = await names();
  await expose(registry, "openmetrics");
  assert.deepEqual(await names(), before);
  assert.ok(before.includes("process_cpu_seconds_total"));
});
