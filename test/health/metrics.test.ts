import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import type { Usage } from "../../src/protocol/stream.ts";
import { labelValues, sample, scrape } from "../support/metrics.ts";
import { runnersOf } from "../support/processes.ts";
import { startService, type RunningService } from "../support/service.ts";
import { greedy, StreamClient } from "../support/stream-client.ts";

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
    assert.equal(counted("request_duration_seconds_count"), 7);
    for (const name of ["request_queue_seconds", "time_to_first_token_seconds", "request_prefill_seconds"]) {
      assert.equal(counted(`${name}_count`), 6, `${name}: one never got a slot`);
    }
    assert.equal(sample(scraped, "llamapod_model_loads_total", { model, outcome: "ok" }), 1);
    assert.equal(counted("model_load_seconds_count"), 1);
    assert.equal(counted("slots"), 2);
    assert.equal(counted("requests_running"), 0);
    assert.equal(sample(scraped, "llamapod_ws_connections"), 1);
    assert.equal(sample(scraped, "llamapod_ready"), 1);
  });

  test("a refusal for want of room is counted under its model", async () => {
    await using crowded = await startService(["gpt2"], { slots: 1, maxQueue: 1 });
    using asker = await StreamClient.connect(crowded.url);
    for (const id of ["runs", "waits", "refused"]) asker.send({ type: "generate", ...greedy(id, 100) });
    assert.equal((await asker.take("error", "refused")).code, "overloaded");
    const scraped = await scrape(crowded.url);
    assert.equal(sample(scraped, "llamapod_request_errors_total", { model: "gpt2", code: "overloaded" }), 1);
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

  test("a storm of unknown models adds one label value at most", async () => {
    const before = labelValues(await scrape(service.url), "model");
    const storm = Array.from({ length: 200 }, (_, index) => `none-${index}`);
    for (const name of storm) client.send({ type: "generate", ...greedy(name, 1), model: name });
    for (const name of storm) assert.equal((await client.take("error", name)).code, "model_not_found");
    const added = labelValues(await scrape(service.url), "model").filter((name) => !before.includes(name));
    assert.deepEqual(added, ["_other"]);
  });

  const skip = promtool || process.env["CI"] === "true" ? false : "promtool is not installed (package prometheus)";
  test("promtool has nothing to say", { skip }, async () => {
    const text = await (await fetch(`${service.url}/metrics`)).text();
    const checked = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
    assert.equal(checked.status, 0, checked.stdout + checked.stderr);
    assert.equal(checked.stderr, "");
  });

  async function complete(body: Readonly<Record<string, unknown>>): Promise<Response> {
    return fetch(`${service.url}/v1/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ temperature: 0, ...body }),
    });
  }
});

interface OpenAiUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}
