import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { basename } from "node:path";
import { test } from "node:test";
import { subprotocol } from "../../src/protocol/stream.ts";
import { hostileFile } from "../fixtures/hostile.ts";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { Operator } from "../support/operator.ts";
import { runnersOf } from "../support/processes.ts";
import { modelsFolder, serveFolder, startService, type RunningService } from "../support/service.ts";
import { Answer, greedy, StreamClient } from "../support/stream-client.ts";
import { upgrade } from "../support/upgrade.ts";
import { Collector, type CollectedSpan } from "./collector.ts";

const { cache } = createRequire(import.meta.url);
// prom-client brings OpenTelemetry's interface along; the rest is what does something.
const sdk = () => Object.keys(cache).filter((path) => /@opentelemetry\/(?!api\/)/.test(path));

const traceId = "0af7651916cd43dd8448eb211c80319c";
const callerSpanId = "b7ad6b7169203331";
const traceparent = `00-${traceId}-${callerSpanId}-01`;

test("without a collector nothing of OpenTelemetry is loaded, and a trace from outside is passed on", async () => {
  await using service = await startService(["llama"]);
  const response = await complete(service.url, {}, { traceparent });
  await response.text();
  assert.equal(response.headers.get("traceparent"), traceparent);
  const untraced = await complete(service.url, {}, { traceparent: "00-of-no-use-01" });
  await untraced.text();
  assert.equal(untraced.headers.get("traceparent"), null);
  const handshake = await upgrade(service.url, "/v1/stream", { "Sec-WebSocket-Protocol": subprotocol, traceparent });
  assert.deepEqual([handshake.status, handshake.headers["traceparent"]], [101, traceparent]);
  assert.deepEqual(sdk(), []);
});

test("a collector gets the spans of a request, each within the one that it is part of", async () => {
  await using collector = await Collector.start();
  process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url;
  process.env["OTEL_SERVICE_NAME"] = "of-a-test";
  const service = await startService(["llama", "gpt2"], { drainSeconds: 5 });
  try {
    assert.ok(sdk().length > 0);
    const warm = await complete(service.url, {}, { traceparent, tracestate: "vendor=1" });
    await warm.text();
    // gpt2 has to be loaded for it.
    await (await complete(service.url, { model: "gpt2" }, { traceparent: traceparent.replace(traceId, "c".repeat(32)) })).text();
    using client = await StreamClient.connect(service.url, {
      headers: { traceparent: traceparent.replace(traceId, "d".repeat(32)) },
    });
    await client.generate(greedy("spoken", 4));
    const [, tracedId, spanId] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-01$/.exec(warm.headers.get("traceparent") ?? "") ?? [];
    assert.equal(tracedId, traceId);
    // What has not been sent is sent at the end.
    await service[Symbol.asyncDispose]();

    assert.equal(collector.resource.get("service.name"), "of-a-test");
    const of = (trace: string) => collector.spans.filter((span) => span.traceId === trace);
    const http = named(of(traceId), "POST /v1/completions");
    assert.equal(http.spanId, spanId);
    assert.equal(http.parentSpanId, callerSpanId);
    const generation = named(of(traceId), "generation");
    assert.equal(generation.parentSpanId, http.spanId);
    assert.equal(attribute(generation, "gen_ai.response.model"), "llama");
    assert.equal(attribute(generation, "gen_ai.usage.output_tokens"), 4);
    assertPhases(of(traceId), generation, ["queue", "prefill", "decode"]);
    assert.ok(of(traceId).every(({ name }) => name !== "load"));

    const cold = of("c".repeat(32));
    assertPhases(cold, named(cold, "generation"), ["queue", "prefill", "decode"]);
    assert.equal(named(cold, "load").parentSpanId, named(cold, "queue").spanId);

    const spoken = of("d".repeat(32));
    const handshake = named(spoken, "GET /v1/stream");
    assert.equal(handshake.parentSpanId, callerSpanId);
    assert.equal(named(spoken, "generation").parentSpanId, handshake.spanId);
  } finally {
    delete process.env["OTEL_EXPORTER_OTLP_ENDPOINT"];
    delete process.env["OTEL_SERVICE_NAME"];
  }
});

test("a load that fails, or that the client does not wait for, has a span", async () => {
  await using collector = await Collector.start();
  const folder = await modelsFolder({ llama: await tinyModel("llama"), gpt2: await tinyModel("gpt2") });
  const hostile = basename(await hostileFile("unknown-architecture", folder), ".gguf");
  const service = await traced(collector, () => serveFolder(folder, { model: "llama" }));
  const refused = await complete(service.url, { model: hostile }, { traceparent });
  assert.equal(refused.status, 503, await refused.text());
  const cancelled = "e".repeat(32);
  using client = await StreamClient.connect(service.url, { headers: { traceparent: traceparent.replace(traceId, cancelled) } });
  client.send({ type: "generate", ...greedy("impatient", 4), model: "gpt2" });
  await client.take("queued", "impatient");
  client.send({ type: "cancel", id: "impatient" });
  assert.equal((await client.take("done", "impatient")).finish_reason, "cancelled");
  await service[Symbol.asyncDispose]();

  for (const id of [traceId, cancelled]) {
    const spans = collector.spans.filter((span) => span.traceId === id);
    const [queue, load] = [named(spans, "queue"), named(spans, "load")];
    assert.equal(load.parentSpanId, queue.spanId);
    assert.ok(load.endTimeUnixNano > load.startTimeUnixNano && load.endTimeUnixNano <= queue.endTimeUnixNano);
    assert.equal(attribute(load, "error.type"), id === traceId ? "model_load_failed" : undefined);
  }
});

const interruptions: Readonly<Record<string, (url: string) => Promise<void>>> = {
  "is parked": async (url) => {
    await new Operator(url).run("switch", "gpt2");
  },
  "loses its runner": () => {
    for (const pid of runnersOf(process.pid)) process.kill(pid, "SIGKILL");
    return Promise.resolve();
  },
};

for (const [what, interrupt] of Object.entries(interruptions)) {
  test(`a generation that ${what} waits, loads and reads again, in spans of their own`, async () => {
    await using collector = await Collector.start();
    const settings = { slots: 1, maxResident: 1, parkAfterSeconds: 0, minResidencySeconds: 1 };
    const service = await traced(collector, () => startService(["llama", "gpt2"], settings));
    using client = await StreamClient.connect(service.url, { headers: { traceparent } });
    // What a model takes is found out before: the switch is to come in the middle of the answer.
    await new Operator(service.url).plan("gpt2");
    const answer = new Answer("long");
    client.send({ type: "generate", ...greedy("long", 1_900) });
    while (answer.tokens < 50) answer.apply(await client.takeWhere((message) => "first" in message));
    await interrupt(service.url);
    const done = await client.readTo(answer);
    assert.equal(done.timings.interruptions, 1);
    assert.ok(
      client.received.every(({ type }) => type !== "queued"),
      "the client sees a pause",
    );
    await service[Symbol.asyncDispose]();

    const spans = collector.spans.filter((span) => span.traceId === traceId);
    const generation = named(spans, "generation");
    assertPhases(spans, generation, ["queue", "prefill", "decode", "queue", "prefill", "decode"]);
    const again = phasesOf(spans, generation)[3] ?? assert.fail();
    const load = named(spans, "load");
    assert.equal(load.parentSpanId, again.spanId);
    assert.ok(load.endTimeUnixNano > load.startTimeUnixNano && load.endTimeUnixNano <= again.endTimeUnixNano);
  });
}

async function traced(collector: Collector, start: () => Promise<RunningService>): Promise<RunningService> {
  process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url;
  try {
    return await start();
  } finally {
    delete process.env["OTEL_EXPORTER_OTLP_ENDPOINT"];
  }
}

function phasesOf(spans: readonly CollectedSpan[], generation: CollectedSpan): CollectedSpan[] {
  return spans
    .filter(({ parentSpanId }) => parentSpanId === generation.spanId)
    .sort((one, other) => Number(one.startTimeUnixNano - other.startTimeUnixNano));
}

/** They follow each other without a gap, and fill the generation. */
function assertPhases(spans: readonly CollectedSpan[], generation: CollectedSpan, names: readonly string[]): void {
  const phases = phasesOf(spans, generation);
  assert.deepEqual(
    phases.map(({ name }) => name),
    names,
  );
  assert.equal(phases[0]?.startTimeUnixNano, generation.startTimeUnixNano);
  for (const [index, phase] of phases.entries()) {
    assert.ok(phase.endTimeUnixNano >= phase.startTimeUnixNano, phase.name);
    const next = phases[index + 1];
    if (next !== undefined) assert.equal(next.startTimeUnixNano, phase.endTimeUnixNano, phase.name);
  }
}

function named(spans: readonly CollectedSpan[], name: string): CollectedSpan {
  const [found, ...others] = spans.filter((span) => span.name === name);
  assert.ok(found !== undefined && others.length === 0, `${name} among ${spans.map((span) => span.name).join(", ")}`);
  return found;
}

function attribute({ attributes }: CollectedSpan, key: string): string | number | undefined {
  const value = attributes.find((candidate) => candidate.key === key)?.value;
  return value?.stringValue ?? value?.intValue;
}

function complete(url: string, body: object, headers: Readonly<Record<string, string>>): Promise<Response> {
  return fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ prompt: "Once", max_tokens: 4, temperature: 0, ...body }),
  });
}
