import assert from "node:assert/strict";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { sample, scrape } from "../support/metrics.ts";
import { isAlive, runnersOf, ServerProcess, until } from "../support/processes.ts";
import { modelsFolder } from "../support/service.ts";
import { Answer, greedy, StreamClient } from "../support/stream-client.ts";

describe("a server process that is told to stop", () => {
  let folder: string;
  const long = "llama";
  const quick = "gpt2";

  before(async () => {
    folder = await modelsFolder({ [long]: await tinyModel(long), [quick]: await tinyModel(quick) });
  });
  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function startReady(model: string, flags: readonly string[] = []): Promise<ServerProcess> {
    const server = await ServerProcess.start(["--models-dir", folder, "--model", model, ...flags]);
    await until(async () => (await fetch(`${server.url}/health/ready`)).ok);
    return server;
  }

  test("lets the answer under way end, refuses new ones, and leaves nothing behind", async () => {
    await using server = await startReady(long);
    const runners = runnersOf(server.pid);
    assert.equal(runners.length, 1);
    using client = await StreamClient.connect(server.url);
    const answer = new Answer("last");
    client.send({ type: "generate", ...greedy("last", 1_000) });
    answer.apply(await client.take("started", "last"));

    server.kill("SIGTERM");
    const reading = (async () => {
      for (;;) {
        const message = await client.takeWhere(({ type }) => type === "delta" || type === "done" || type === "notice");
        if (message.type === "notice") return message;
        answer.apply(message);
      }
    })();
    const notice = await reading;
    assert.equal(notice.kind, "draining");
    using late = await StreamClient.connect(server.url);
    assert.equal((await late.take("notice")).kind, "draining", "whoever comes now is told, too");
    const [ready, live, refused] = await Promise.all([
      fetch(`${server.url}/health/ready`),
      fetch(`${server.url}/health/live`),
      fetch(`${server.url}/v1/completions`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ prompt: "x" }),
      }),
    ]);
    assert.deepEqual([ready.status, live.status, refused.status], [503, 200, 503]);
    assert.ok(Number(refused.headers.get("retry-after")) >= 1);
    const done = await client.readTo(answer);
    assert.equal(done.finish_reason, "length");
    assert.equal(await client.closed, 1001);
    assert.deepEqual(await server.exited, { code: 0, signal: null });
    assert.deepEqual(runners.filter(isAlive), []);
  });

  test("a reader that is far behind still gets all of an answer that had ended", async () => {
    await using server = await startReady(long, ["--max-messages-per-second", "1000000"]);
    using fast = await StreamClient.connect(server.url);
    const { text } = await fast.generate(greedy("backlog", 1_000));
    using slow = await StreamClient.connect(server.url);
    await slow.take("hello");
    slow.socket.pause();
    for (let sent = 0; sent < 24 * 1024 * 1024; sent += text.length) slow.send({ type: "resume", id: "backlog", after: 0 });
    slow.send({ type: "generate", ...greedy("behind", 100) });
    const watched = new Answer("behind");
    for (;;) {
      fast.send({ type: "resume", id: "behind", after: 0 });
      const message = await fast.takeWhere((candidate) => "id" in candidate && candidate.id === "behind");
      if (message.type === "error") continue;
      watched.apply(message);
      await fast.readTo(watched);
      break;
    }
    server.kill("SIGTERM");
    await fast.take("notice");
    slow.socket.resume();
    const behind = new Answer("behind");
    await slow.readTo(behind);
    assert.equal(behind.text, watched.text);
    assert.equal(await slow.closed, 1001);
    assert.equal((await server.exited).code, 0);
  });

  test("told again, it hurries: the answer ends in an error, and the server all the same", async () => {
    await using server = await startReady(long);
    const runners = runnersOf(server.pid);
    using client = await StreamClient.connect(server.url);
    client.send({ type: "generate", ...greedy("cut", 2_000) });
    await client.take("started", "cut");
    server.kill("SIGINT");
    await client.take("notice");
    server.kill("SIGTERM");
    const error = await client.take("error", "cut");
    assert.deepEqual([error.code, error.retryable], ["draining", true]);
    assert.notEqual(error.seq, undefined);
    assert.deepEqual(await server.exited, { code: 0, signal: null });
    assert.deepEqual(runners.filter(isAlive), []);
  });

  test(
    "told again, it hurries even where nothing is left but a request that never comes to its end",
    { timeout: 25_000 },
    async () => {
      await using server = await startReady(quick, ["--drain-seconds", "600", "--body-seconds", "600"]);
      const port = Number(new URL(server.url).port);
      const half = connect(port, "127.0.0.1");
      half.on("error", () => undefined);
      const headers = ["Host: localhost", "Expect: 100-continue", "Content-Type: application/json", "Content-Length: 9"];
      half.write(`POST /v1/completions HTTP/1.1\r\n${headers.join("\r\n")}\r\n\r\n{`);
      // It is told to go on, and does not.
      await once(half, "data");
      server.kill("SIGTERM");
      await until(() => refusesToConnect(port));
      server.kill("SIGTERM");
      assert.equal((await server.exited).code, 0);
    },
  );

  test("an answer that takes longer than the drain time is ended", async () => {
    await using server = await startReady(long, ["--drain-seconds", "0"]);
    using client = await StreamClient.connect(server.url);
    client.send({ type: "generate", ...greedy("cut", 2_000) });
    await client.take("started", "cut");
    server.kill("SIGTERM");
    assert.equal((await client.take("error", "cut")).code, "draining");
    assert.equal((await server.exited).code, 0);
  });

  test("an answer whose reader lost its connection a moment ago is kept until it has come back for it", async () => {
    await using server = await startReady(quick);
    const client = await StreamClient.connect(server.url);
    const { text, lastSeq } = await client.generate(greedy("lost", 20));
    client.socket.terminate();
    await until(async () => sample(await scrape(server.url), "llamapod_ws_connections") === 0);
    server.kill("SIGTERM");
    using again = await StreamClient.connect(server.url);
    const answer = new Answer("lost");
    again.send({ type: "resume", id: "lost", after: 0 });
    await again.readTo(answer);
    assert.equal(answer.text, text);
    again.send({ type: "ack", id: "lost", seq: lastSeq });
    assert.equal((await server.exited).code, 0);
  });

  test("a client that does not answer cannot keep it", { timeout: 25_000 }, async () => {
    await using server = await startReady(quick);
    using client = await StreamClient.connect(server.url);
    await client.take("hello");
    client.socket.pause();
    server.kill("SIGTERM");
    assert.equal((await server.exited).code, 0);
  });

  test("a runner that dies while the last answers are made is replaced", async () => {
    await using server = await startReady(long);
    using client = await StreamClient.connect(server.url);
    client.send({ type: "generate", ...greedy("last", 1_000) });
    await client.take("delta", "last");
    server.kill("SIGTERM");
    await client.take("notice");
    const [runner] = runnersOf(server.pid);
    assert.ok(runner !== undefined);
    process.kill(runner, "SIGKILL");
    const ended = await client.takeWhere(({ type }) => type === "done" || type === "error");
    assert.equal(ended.type, "done", JSON.stringify(ended));
    assert.equal((await server.exited).code, 0);
  });

  test("killed outright, it takes its runner along", async () => {
    await using server = await startReady(quick);
    const runners = runnersOf(server.pid);
    assert.equal(runners.length, 1);
    server.kill("SIGKILL");
    await server.exited;
    await until(() => !runners.some(isAlive));
  });
});

async function refusesToConnect(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  return once(socket, "connect").then(
    () => {
      socket.destroy();
      return false;
    },
    () => true,
  );
}
