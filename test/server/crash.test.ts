import assert from "node:assert/strict";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { hostileFile } from "../fixtures/hostile.ts";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { cannotLimit, limited } from "../support/control-group.ts";
import { runnersOf, until } from "../support/processes.ts";
import { sample, scrape } from "../support/metrics.ts";
import { Answer, greedy, isFrame, StreamClient } from "../support/stream-client.ts";
import type { ServerMessage, ServerMessageOf } from "../../src/protocol/stream.ts";
import { modelsFolder, serveFolder, startService, type RunningService } from "../support/service.ts";

describe("a runner that is killed in the middle of an answer", () => {
  let service: RunningService;
  let client: StreamClient;
  let undisturbed: Answer;
  const tokens = 300;

  before(async () => {
    // One slot and batches of one token: read or written, a token is computed in the same way, to the last bit.
    service = await startService(["llama"], { slots: 1, batchSize: 1 });
    client = await StreamClient.connect(service.url);
    undisturbed = await client.generate(greedy("reference", tokens));
  });
  after(async () => {
    client[Symbol.dispose]();
    await service[Symbol.asyncDispose]();
  });

  /** Has an answer begun and something done to its runner, and reads on. */
  async function interrupted(id: string, disturb: (runner: number) => void) {
    const answer = new Answer(id);
    client.send({ type: "generate", ...greedy(id, tokens) });
    while (answer.tokens < 20) answer.apply(await client.takeWhere(isFrame));
    const [runner] = runnersOf(process.pid);
    assert.ok(runner !== undefined);
    disturb(runner);
    const done = await client.readTo(answer);
    return { answer, done };
  }

  test("the answer goes on where it was, and ends as if nothing had happened", async () => {
    const answer = new Answer("interrupted");
    client.send({ type: "generate", ...greedy("interrupted", tokens) });
    while (answer.tokens < 100) answer.apply(await client.takeWhere((message) => "first" in message));
    const states = watchReadiness(service.url);
    await killRunner();
    const done = await client.readTo(answer);
    assert.equal(answer.text, undisturbed.text);
    assert.equal(answer.tokens, tokens);
    assert.equal(done.usage.completion_tokens, tokens);
    assert.equal(done.timings.interruptions, 1);
    assert.deepEqual(await states, { wentUnready: true, stayedLive: true });
  });

  test("an answer over HTTP goes on, too", async () => {
    const response = await fetch(`${service.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...withoutId(greedy("", tokens)), stream: true }),
    });
    assert.ok(response.body);
    let events = "";
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      if (!events.includes("content") && chunk.includes("content")) await killRunner();
      events += chunk;
    }
    const chunks = events.split("\n\n").flatMap((event) => /^data: (\{.*\})$/m.exec(event)?.[1] ?? []);
    const parsed = chunks.map((chunk) => JSON.parse(chunk) as SseChunk);
    assert.equal(parsed.map(({ choices }) => choices[0]?.delta.content ?? "").join(""), undisturbed.text);
    assert.equal(parsed.at(-1)?.timings?.interruptions, 1);
  });

  test("SIGABRT: the answer goes on, and is to the last byte what it would have been", async () => {
    const { answer, done } = await interrupted("aborted", (runner) => {
      process.kill(runner, "SIGABRT");
    });
    assert.deepEqual([answer.text, answer.tokens, done.timings.interruptions], [undisturbed.text, tokens, 1]);
  });

  test("the kernel, out of memory: the answer goes on, to the last byte", { skip: cannotLimit }, async (context) => {
    // When it next asks for memory is up to the runner.
    for (let attempt = 1; ; attempt++) {
      const { answer, done } = await interrupted(`starved-${attempt}`, (runner) => {
        // What it has it may keep; of what it asks for next there is none.
        if (attempt > 1) return;
        const group = limited(runner, 4_096);
        context.after(() => {
          group[Symbol.dispose]();
        });
      });
      assert.deepEqual([answer.text, answer.tokens], [undisturbed.text, tokens]);
      if (done.timings.interruptions === 1) break;
    }
  });

  test("an answer whose runner dies twice ends in runner_crashed, and the next one is made", async () => {
    const answer = new Answer("deadly");
    client.send({ type: "generate", ...greedy("deadly", tokens) });
    while (answer.tokens < 50) answer.apply(await client.takeWhere((message) => "first" in message));
    const victim = await killRunner();
    const sofar = answer.tokens;
    while (answer.tokens < sofar + 100) answer.apply(await client.takeWhere((message) => "first" in message));
    assert.notEqual(await killRunner(), victim);
    for (;;) {
      const message = await client.takeWhere((candidate) => "first" in candidate);
      if (message.type === "error") {
        answer.apply(message);
        assert.deepEqual([message.code, message.retryable], ["runner_crashed", true]);
        break;
      }
      answer.apply(message);
    }
    assert.ok(undisturbed.text.startsWith(answer.text), "what was given out stays true");
    assert.equal((await client.generate(greedy("next", tokens))).text, undisturbed.text);
  });

  test("an answer that was cancelled before its runner died stays cancelled", async () => {
    client.send({ type: "generate", ...greedy("cancelled", tokens) });
    await client.take("delta", "cancelled");
    const [runner] = runnersOf(process.pid);
    assert.ok(runner !== undefined);
    process.kill(runner, "SIGSTOP");
    client.send({ type: "cancel", id: "cancelled" });
    client.send({ type: "ping" });
    await client.take("pong");
    process.kill(runner, "SIGKILL");
    const done = await client.take("done", "cancelled");
    assert.equal(done.finish_reason, "cancelled");
    assert.ok(done.usage.completion_tokens < tokens);
  });
});

test("all answers of a runner that dies go on, and those that waited for a slot are not blamed", async () => {
  await using service = await startService(["llama"], { slots: 4 });
  using client = await StreamClient.connect(service.url);
  const answers = new Map(Array.from({ length: 6 }, (_, index) => [`many-${index}`, new Answer(`many-${index}`)]));
  for (const id of answers.keys()) client.send({ type: "generate", ...greedy(id, 200, id) });
  await client.take("delta", "many-3");
  await killRunner();
  await Promise.all([...answers.values()].map((answer) => readAll(client, answer)));
  const interruptions = client.received.flatMap((message) =>
    message.type === "done" ? [[message.id, message.timings.interruptions] as const] : [],
  );
  assert.deepEqual(
    [...interruptions].sort().map(([, count]) => count),
    [1, 1, 1, 1, 0, 0],
  );
  assert.ok([...answers.values()].every(({ tokens }) => tokens === 200));
  assert.equal(sample(await scrape(service.url), "llamapod_runner_restarts_total", { model: "llama" }), 1);
});

describe("a runner with four slots", () => {
  let service: RunningService;
  let client: StreamClient;
  const tokens = 300;

  before(async () => {
    service = await startService(["llama"], { slots: 4, silenceSeconds: 3 });
    client = await StreamClient.connect(service.url);
  });
  after(async () => {
    client[Symbol.dispose]();
    await service[Symbol.asyncDispose]();
  });

  /** Four answers at once, of which the given one has begun to come. */
  async function four(name: string, begun: string): Promise<Answer[]> {
    const answers = Array.from({ length: 4 }, (_, index) => new Answer(`${name}-${index}`));
    for (const { id } of answers) client.send({ type: "generate", ...greedy(id, tokens, id) });
    await client.take("delta", `${name}-${begun}`);
    return answers;
  }

  const endOf = (id: string) =>
    client.received.find((message) => message.type === "done" && message.id === id) as ServerMessageOf<"done">;

  for (const signal of ["SIGABRT", "SIGSTOP"] as const) {
    test(`${signal} in the middle of four answers: the runner is replaced, and all of them go on`, async () => {
      const answers = await four(signal.toLowerCase(), "3");
      const [runner] = runnersOf(process.pid);
      assert.ok(runner !== undefined);
      process.kill(runner, signal);
      const sent = new Map(answers.map(({ id }) => [id, textOf(client.received, id)]));
      await Promise.all(answers.map((answer) => readAll(client, answer)));
      using latecomer = await StreamClient.connect(service.url);
      for (const { id, text, tokens: received } of answers) {
        const { usage, finish_reason: reason, timings } = endOf(id);
        assert.deepEqual([received, timings.interruptions], [usage.completion_tokens, 1]);
        assert.ok(reason === "stop" || received === tokens, `${id} has ended early: ${reason}`);
        // What was given out before is part of what anybody reads afterwards.
        latecomer.send({ type: "resume", id, after: 0 });
        const replayed = new Answer(id);
        await latecomer.readTo(replayed);
        assert.deepEqual([replayed.text, replayed.tokens, replayed.lastSeq], [text, received, endOf(id).seq]);
        assert.ok(replayed.text.startsWith(sent.get(id) ?? assert.fail()), `${id} has begun anew`);
      }
      assert.ok(!runnersOf(process.pid).includes(runner));
    });
  }

  test("two kills: at most the one that was alone then is blamed, and the others go on", async () => {
    const answers = await four("twice", "3");
    await killRunner();
    await until(() => runnersOf(process.pid).length === 1);
    const resumed = client.received.length;
    await until(() => client.received.slice(resumed).some((message) => message.type === "delta"));
    await killRunner();
    const isOver = ({ id }: Answer) =>
      client.received.find(
        (message) => (message.type === "done" || message.type === "error") && "id" in message && message.id === id,
      );
    await until(() => answers.every((answer) => isOver(answer) !== undefined));
    const blamed = answers.filter((answer) => isOver(answer)?.type === "error");
    assert.ok(blamed.length <= 1, `${blamed.length} are blamed`);
    for (const answer of answers) {
      if (blamed.includes(answer)) continue;
      await readAll(client, answer);
      assert.equal(answer.tokens, endOf(answer.id).usage.completion_tokens);
    }
  });
});

test("a runner that dies while it loads is tried again, and then given up with the reason", async (context) => {
  const folder = await modelsFolder({ llama: await tinyModel("llama") });
  const hostile = await mkdtemp(join(tmpdir(), "llamapod-hostile-"));
  context.after(() => rm(hostile, { recursive: true }));
  await symlink(await hostileFile("zero-heads-by-layer", hostile), join(folder, "hostile.gguf"));
  await using service = await serveFolder(folder, { model: "llama", maxResident: 2 });
  using client = await StreamClient.connect(service.url);
  client.send({ type: "generate", ...greedy("doomed", 3), model: "hostile" });
  client.send({ type: "generate", ...greedy("healthy", 3) });
  assert.equal((await client.take("done", "healthy")).usage.completion_tokens, 3);
  const error = await client.take("error", "doomed");
  assert.deepEqual([error.code, error.param, error.retryable], ["model_load_failed", "model", true]);
  assert.ok((error.retry_after_ms ?? 0) >= 1_000);
  const failed = client.received.filter((message) => message.type === "model" && message.state === "failed");
  assert.ok(failed.length > 0 && failed.every((message) => "reason" in message && message.reason !== ""));
  assert.equal((await fetch(`${service.url}/health/ready`)).status, 200);
});

/** What has come of an answer so far. */
function textOf(received: readonly ServerMessage[], id: string): string {
  return received.map((message) => (message.type === "delta" && message.id === id ? message.text : "")).join("");
}

/** Reads one of several answers of a connection, from what came and what comes. */
async function readAll(client: StreamClient, answer: Answer): Promise<void> {
  let seen = 0;
  await until(() => {
    for (const message of client.received.slice(seen)) if (isFrame(message) && message.id === answer.id) answer.apply(message);
    seen = client.received.length;
    return client.received.some((message) => message.type === "done" && message.id === answer.id);
  });
}

interface SseChunk {
  readonly choices: readonly { readonly delta: { readonly content?: string } }[];
  readonly timings?: { readonly interruptions: number };
}

function withoutId({ messages, temperature, max_tokens }: ReturnType<typeof greedy>) {
  return { messages, temperature, max_tokens };
}

/** Kills the one runner, and waits until it is gone. */
async function killRunner(): Promise<number> {
  const [runner, ...others] = runnersOf(process.pid);
  assert.ok(runner !== undefined && others.length === 0, "there is one runner");
  process.kill(runner, "SIGKILL");
  await until(() => !runnersOf(process.pid).includes(runner));
  return runner;
}

/** Asks both probes until the server has been unready and is ready again. */
async function watchReadiness(url: string): Promise<{ wentUnready: boolean; stayedLive: boolean }> {
  let stayedLive = true;
  const isReady = async () => {
    stayedLive &&= (await fetch(`${url}/health/live`)).status === 200;
    return (await fetch(`${url}/health/ready`)).status === 200;
  };
  await until(async () => !(await isReady()));
  await until(isReady);
  return { wentUnready: true, stayedLive };
}
