import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { getLlama } from "node-llama-cpp";
import { pino } from "pino";
import { ModelLabels } from "../../src/health/metrics/model-labels.ts";
import type { Usage } from "../../src/protocol/stream.ts";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { makeTraffic } from "../observability/traffic.ts";
import { sample, scrape, type Scrape } from "../support/metrics.ts";
import { runCommand, runnersOf, until } from "../support/processes.ts";
import { modelsFolder, serveFolder, startService, type RunningService } from "../support/service.ts";
import { greedy, StreamClient } from "../support/stream-client.ts";
import { metricsContract } from "./metrics-contract.ts";

const promtool = spawnSync("promtool", ["--version"]).status === 0;

describe("metrics", () => {
  let service: RunningService;
  let client: StreamClient;
  const model = "llama";

  before(async () => {
    service = await startService(["llama", "gpt2"], { slots: 2 });
    client = await StreamClient.connect(service.url);
  });
  after(async () => {
    client[Symbol.dispose]();
    await service[Symbol.asyncDispose]();
  });

  test("after known traffic the counters say what the clients saw", async () => {
    const usages: Usage[] = [];
    for (const tokens of [10, 20, 1]) usages.push((await client.generate(greedy(`of-${tokens}`, tokens))).done.usage);
    client.send({ type: "generate", ...greedy("stopped", 2_000) });
    await client.take("delta", "stopped");
    client.send({ type: "cancel", id: "stopped" });
    usages.push((await client.take("done", "stopped")).usage);
    const whole = (await (await complete({ prompt: "Once", max_tokens: 7 })).json()) as { usage: OpenAiUsage };
    const streamed = await (
      await complete({ prompt: "Twice", max_tokens: 5, stream: true, stream_options: { include_usage: true } })
    ).text();
    const [, last] = /data: (\{[^\n]*\})\n\ndata: \[DONE\]/.exec(streamed) ?? [];
    for (const { usage } of [whole, JSON.parse(last ?? "") as { usage: OpenAiUsage }]) {
      usages.push({ ...usage, cached_tokens: usage.prompt_tokens_details.cached_tokens });
    }
    assert.equal((await complete({ prompt: "1 ".repeat(3_000) })).status, 400);

    const scraped = await scrape(service.url);
    const requests = (labels: Readonly<Record<string, string>>) =>
      sample(scraped, "llamapod_requests_total", { model, ...labels });
    assert.equal(requests({ endpoint: "stream", transport: "ws", outcome: "ok" }), 3);
    assert.equal(requests({ endpoint: "stream", transport: "ws", outcome: "cancelled" }), 1);
    assert.equal(requests({ endpoint: "completions", transport: "http", outcome: "ok" }), 1);
    assert.equal(requests({ endpoint: "completions", transport: "sse", outcome: "ok" }), 1);
    assert.equal(requests({ endpoint: "completions", transport: "http", outcome: "error" }), 1);
    assert.equal(sample(scraped, "llamapod_request_errors_total", { model, code: "context_length_exceeded" }), 1);

    const total = (pick: (usage: Usage) => number) => usages.reduce((sum, usage) => sum + pick(usage), 0);
    const counted = (name: string) => sample(scraped, `llamapod_${name}`, { model });
    assert.equal(
      counted("prompt_tokens_total"),
      total((usage) => usage.prompt_tokens),
    );
    assert.equal(
      counted("prompt_tokens_cached_total"),
      total((usage) => usage.cached_tokens),
    );
    assert.equal(
      counted("generation_tokens_total"),
      total((usage) => usage.completion_tokens),
    );
    assert.equal(
      counted("inter_token_latency_seconds_count"),
      total((usage) => usage.completion_tokens - 1),
    );
    const overTransports = (name: string, labels: Readonly<Record<string, string>> = {}) =>
      ["ws", "sse", "http"].reduce((sum, transport) => sum + sample(scraped, name, { model, transport, ...labels }), 0);
    assert.equal(overTransports("llamapod_request_duration_seconds_count"), 7);
    assert.equal(overTransports("llamapod_time_to_first_token_seconds_count", { cold: "false" }), 6);
    for (const name of [
      "request_queue_seconds",
      "request_prefill_seconds",
      "request_prompt_tokens",
      "request_generation_tokens",
    ]) {
      assert.equal(counted(`${name}_count`), 6, `${name}: one never got a slot`);
    }
    assert.equal(
      counted("request_generation_tokens_sum"),
      total((usage) => usage.completion_tokens),
    );
    assert.equal(counted("time_per_output_token_seconds_count"), usages.filter((usage) => usage.completion_tokens > 1).length);
    assert.equal(
      counted("prefill_tokens_total"),
      total((usage) => usage.prompt_tokens - usage.cached_tokens),
    );
    assert.equal(sample(scraped, "llamapod_cancel_latency_seconds_count", { phase: "decode" }), 1);
    assert.equal(sample(scraped, "llamapod_model_loads_total", { model, outcome: "ok", cause: "none" }), 1);
    for (const phase of ["spawn", "weights", "warmup"])
      assert.equal(sample(scraped, "llamapod_model_load_phase_seconds_count", { model, phase }), 1, phase);
    assert.equal(sample(scraped, "llamapod_model_state", { model, state: "ready" }), 1);
    assert.equal(sample(scraped, "llamapod_model_state", { model: "gpt2", state: "available" }), 1);
    assert.equal(
      sample(scraped, "llamapod_http_request_duration_seconds_count", {
        route: "/v1/completions",
        method: "POST",
        code_class: "4xx",
      }),
      1,
    );
    assert.equal(sample(scraped, "llamapod_ws_messages_received_total", { type: "generate" }), 4);
    assert.equal(sample(scraped, "llamapod_ws_frames_sent_total", { type: "done" }), 4);
    assert.equal(counted("model_load_seconds_count"), 1);
    assert.equal(counted("slots"), 2);
    assert.equal(counted("requests_running"), 0);
    assert.equal(sample(scraped, "llamapod_ws_connections"), 1);
    assert.equal(sample(scraped, "llamapod_ready"), 1);
  });

  test("the memory that a model takes is what it was measured to take, not what it was expected to", async () => {
    const lines: { msg: string; memory?: { ram: number } }[] = [];
    const write = (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[number]);
    await using measured = await startService(["gpt2"], {}, pino({ level: "info" }, { write }));
    const { memory } = lines.find(({ msg }) => msg === "model is ready") ?? assert.fail("it is not ready");
    const scraped = await scrape(measured.url);
    assert.equal(sample(scraped, "llamapod_model_memory_bytes", { model: "gpt2" }), memory?.ram);
  });

  test("a refusal for want of room is counted under its model", async () => {
    await using crowded = await startService(["gpt2"], { slots: 1, maxQueue: 1 });
    using asker = await StreamClient.connect(crowded.url);
    for (const id of ["runs", "waits", "refused"]) asker.send({ type: "generate", ...greedy(id, 100) });
    assert.equal((await asker.take("error", "refused")).code, "overloaded");
    const scraped = await scrape(crowded.url);
    assert.equal(sample(scraped, "llamapod_request_errors_total", { model: "gpt2", code: "overloaded" }), 1);
    assert.equal(
      sample(scraped, "llamapod_requests_total", { model: "gpt2", endpoint: "stream", transport: "ws", outcome: "rejected" }),
      1,
    );
    assert.equal(sample(scraped, "llamapod_rate_limited_total", { code: "overloaded" }), 1);
    assert.equal(sample(scraped, "llamapod_queue_limit"), 1);
  });

  test("answers and the errors that a rule counts are counted from 0 on, for a model that nobody has asked yet too", async () => {
    const recording = new URL("../../../deploy/podman/monitoring/rules/recording.yml", import.meta.url);
    const [, codes] = /llamapod_request_errors_total\{code=~"([^"]*)"/.exec(readFileSync(recording, "utf8")) ?? [];
    const counters = [
      ...(codes ?? assert.fail("there is no such rule"))
        .split("|")
        .map((code) => `llamapod_request_errors_total{model="gpt2",code="${code}"} 0\n`),
      ...["ok", "error"].flatMap((outcome) =>
        ['endpoint="stream",transport="ws"', 'endpoint="responses",transport="sse"'].map(
          (door) => `llamapod_requests_total{model="gpt2",${door},outcome="${outcome}"} 0\n`,
        ),
      ),
    ];
    const text = await (await fetch(`${service.url}/metrics`)).text();
    assert.deepEqual(
      counters.filter((counter) => !text.includes(counter)),
      [],
    );
  });

  test("loads, switches and closes are counted from 0 on, so that the first one is an increase", async () => {
    const text = await (await fetch(`${service.url}/metrics`)).text();
    for (const cause of ["refused", "crashed", "memory"])
      assert.ok(text.includes(`llamapod_model_loads_total{model="gpt2",outcome="failed",cause="${cause}"} 0\n`), cause);
    for (const code of ["1001", "1003", "1013", "4400", "4408", "4429"])
      assert.ok(text.includes(`llamapod_ws_closes_total{code="${code}"} 0\n`), code);
    for (const outcome of ["ok", "failed"])
      assert.ok(text.includes(`llamapod_model_switches_total{outcome="${outcome}"} 0\n`), outcome);
  });

  test("a scrape loads nothing and changes nothing", async () => {
    const runners = runnersOf(process.pid);
    const counters = async () => [...(await scrape(service.url))].filter(([name]) => /^llamapod_.*_total/.test(name));
    const before = await counters();
    assert.deepEqual(await counters(), before);
    assert.deepEqual(runnersOf(process.pid), runners);
    const { models } = (await (await fetch(`${service.url}/api/models`)).json()) as { models: { id: string; state: string }[] };
    assert.equal(models.find(({ id }) => id === "gpt2")?.state, "available");
  });

  test("the delays of the event loop add up from scrape to scrape", async () => {
    const counted = async () =>
      sample(await scrape(service.url), "llamapod_event_loop_delay_seconds_count", { process: "server" });
    const first = await counted();
    assert.ok(first > 0);
    assert.ok((await counted()) >= first);
    assert.ok((await counted()) >= first);
  });

  test("names, types and labels are those that dashboards and alerts were written for", async () => {
    await using busy = await startService(["llama", "gpt2"], { slots: 2, maxQueue: 4 });
    await makeTraffic(busy.url, 0);
    const text = await (await fetch(`${busy.url}/metrics`)).text();
    const types = [...text.matchAll(/^# TYPE (llamapod_\w+) (\w+)$/gm)];
    const scraped = types.map(([, name = "", type = ""]) => {
      const labels = new RegExp(`^${name}(?:_bucket)?\\{(.*)\\}`, "m").exec(text)?.[1]?.match(/\w+(?==")/g) ?? [];
      return [name, [type, ...labels.filter((label) => label !== "le").sort()].join(" ")] as const;
    });
    assert.deepEqual(Object.fromEntries(scraped.sort()), metricsContract);
  });

  test("whatever clients make up, no label takes it over", async () => {
    await scrape(service.url);
    const before = await labelsOf(service.url);
    const names = fc.sample(fc.string({ maxLength: 40, unit: "binary" }), { numRuns: 100, seed: 7 });
    for (const [index, name] of names.entries())
      client.send({ type: "generate", ...greedy(`none-${index}`, 1), model: `made-up ${name}` });
    for (const index of names.keys()) assert.equal((await client.take("error", `none-${index}`)).code, "model_not_found");
    client.socket.send(JSON.stringify({ type: "made-up-type" }));
    const paths = fc.sample(fc.webPath(), { numRuns: 40, seed: 7 }).map((path) => path.replaceAll(".", "-"));
    for (const path of paths) await fetch(`${service.url}/v1/models/made-up${path}`, { method: "PROPFIND" });
    for (const path of paths) await (await fetch(`${service.url}/api/models/made-up${encodeURIComponent(path)}`)).text();
    const added = [...(await labelsOf(service.url))].filter((pair) => !before.has(pair) && !pair.startsWith("le="));
    const expected = [
      'code="model_not_found"',
      'code_class="4xx"',
      'method="_other"',
      'model="_other"',
      'outcome="error"',
      'route="/api/models/:id"',
      'route="_unmatched"',
      'type="_other"',
      'type="error"',
    ];
    assert.deepEqual(
      added.filter((pair) => !expected.includes(pair)),
      [],
    );
    assert.ok(added.includes('model="_other"'));
  });

  test("models beyond the first fifty share one label", () => {
    let overflows = 0;
    const labels = new ModelLabels(50, () => overflows++);
    const values = Array.from({ length: 60 }, (_, index) => labels.of(`model-${index}`));
    assert.equal(new Set(values).size, 51);
    assert.equal(values[59], "_other");
    assert.equal(labels.of("model-3"), "model-3");
    assert.equal(overflows, 10);
  });

  test("a folder with more models than labels: a scrape is no observation of them", async () => {
    const tiny = await tinyModel("gpt2");
    const folder = await modelsFolder(Object.fromEntries(Array.from({ length: 55 }, (_, index) => [`m${index}`, tiny])));
    await using many = await serveFolder(folder, {});
    await scrape(many.url);
    const scraped = await scrape(many.url);
    assert.equal(sample(scraped, "llamapod_model_state", { model: "_other", state: "available" }), 5);
    assert.equal(sample(scraped, "llamapod_metrics_label_overflow_total"), 0);
  });

  test("a model that is gone has no series any more, and gives its label to another", async () => {
    const tiny = await tinyModel("gpt2");
    const folder = await modelsFolder(Object.fromEntries(Array.from({ length: 51 }, (_, index) => [`m${index + 10}`, tiny])));
    await using many = await serveFolder(folder, { model: "m10" });
    using asker = await StreamClient.connect(many.url);
    await asker.generate({ ...greedy("of-a-model", 3), model: "m11" });
    const before = await scrape(many.url);
    const of = (scraped: Scrape, id: string) => [...scraped.keys()].filter((name) => name.includes(`model="${id}"`));
    assert.equal(sample(before, "llamapod_generation_tokens_total", { model: "m11" }), 3);
    assert.ok(of(before, "m11").some((name) => name.startsWith("llamapod_time_to_first_token_seconds_bucket")));
    assert.deepEqual(of(before, "m60"), []);
    const removed = await runCommand(["rm", "m11", "--yes", "--models-dir", folder], { LLAMAPOD_URL: many.url });
    assert.equal(removed.code, 0, removed.stderr);
    await until(async () => of(await scrape(many.url), "m11").length === 0);
    const after = await scrape(many.url);
    assert.equal(sample(after, "llamapod_model_state", { model: "m60", state: "available" }), 1);
    assert.ok(!of(after, "_other").some((name) => name.startsWith("llamapod_model_state")), "each has a label of its own now");
    assert.equal(sample(after, "llamapod_model_state", { model: "m10", state: "ready" }), 1);
  });

  test("the build names the llama.cpp that computes", async () => {
    const llama = await getLlama({ gpu: false, build: "never", progressLogs: false, logger: () => undefined });
    const { llamaCppRelease } = llama;
    await llama.dispose();
    const built = [...(await scrape(service.url)).keys()].find((name) => name.startsWith("llamapod_build_info{"));
    assert.ok(built?.includes(`llama_cpp="${llamaCppRelease.release}"`), built);
  });

  test("OpenMetrics, for those who ask for it, names a request of each bucket", async () => {
    const headers = { "X-Request-Id": "the-request-of-this-test", traceparent: `00-${"a1".repeat(16)}-${"b2".repeat(8)}-01` };
    const answer = await complete({ prompt: "Thrice", max_tokens: 2 }, headers);
    assert.equal(answer.headers.get("X-Request-Id"), "the-request-of-this-test");
    await answer.text();
    const scraped = await fetch(`${service.url}/metrics`, {
      // As Prometheus asks.
      headers: { Accept: "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1" },
    });
    assert.match(scraped.headers.get("Content-Type") ?? "", /^application\/openmetrics-text/);
    const text = await scraped.text();
    assert.ok(text.endsWith("# EOF\n"));
    assert.match(
      text,
      /^llamapod_time_to_first_token_seconds_bucket\{.*\} \d+ # \{trace_id="(a1){16}",request_id="the-request-of-this-test"\} /m,
    );
    const plain = await (await fetch(`${service.url}/metrics`, { headers: { Accept: "*/*" } })).text();
    assert.doesNotMatch(plain, /# EOF|request_id=/);
    assert.match(plain, /^# TYPE llamapod_requests_total counter$/m);
  });

  test("on a port of its own there is nothing else, and the other one has it no more", async () => {
    const lines: Record<string, unknown>[] = [];
    const log = pino(
      { level: "info" },
      { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
    );
    await using split = await startService(["gpt2"], { metricsPort: 0 }, log);
    const url = lines.find(({ msg }) => msg === "metrics")?.["metrics_url"];
    assert.ok(typeof url === "string");
    assert.match(await (await fetch(url)).text(), /^llamapod_ready 1$/m);
    assert.equal((await fetch(url.replace("/metrics", "/v1/models"))).status, 404);
    assert.equal((await fetch(`${split.url}/metrics`)).status, 404);
  });

  const skip = promtool || process.env["CI"] === "true" ? false : "promtool is not installed (package prometheus)";
  test("promtool has nothing to say", { skip }, async () => {
    const text = await (await fetch(`${service.url}/metrics`)).text();
    const checked = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
    assert.equal(checked.status, 0, checked.stdout + checked.stderr);
    assert.equal(checked.stderr, "");
  });

  async function complete(
    body: Readonly<Record<string, unknown>>,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    return fetch(`${service.url}/v1/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify({ temperature: 0, ...body }),
    });
  }
});

/** Every label with its value, over all metrics. */
async function labelsOf(url: string): Promise<Set<string>> {
  return new Set([...(await scrape(url)).keys()].flatMap((series) => series.match(/\w+="[^"]*"/g) ?? []));
}

interface OpenAiUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}
