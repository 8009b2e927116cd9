import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { scrape, type Scrape } from "../support/metrics.ts";
import { frame, RawSocket } from "../support/raw-socket.ts";
import { greedy, StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

const text = 1;

/** As much of an event as tells why a response has failed. */
interface Failing {
  readonly error?: { readonly code: string };
}
const flood = 20_000;

/** What the server does for it: messages taken in, and messages made. */
const work = (scraped: Scrape) =>
  [...scraped]
    .filter(([name]) => /^llamapod_ws_(messages_received|frames_sent)_total.*"(_other|error|ping|pong|ack)"/.test(name))
    .reduce((sum, [, count]) => sum + count, 0);

/** The most that the limits let through: acknowledgements, in a burst. */
const mostWork = 10_000;

describe("a client that floods the server", { timeout: 60_000 }, () => {
  let service: RunningService;
  let undisturbed: string;

  before(async () => {
    service = await startService(["llama"]);
    using client = await StreamClient.connect(service.url);
    undisturbed = (await client.generate(greedy("undisturbed", 300))).done.text_sha256;
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  for (const [path, what, payload, code] of [
    ["/v1/stream", "bad messages", "{}", 4400],
    ["/v1/stream", "no JSON", "{", 4400],
    ["/v1/stream", "good messages", '{"type":"ping"}', 4429],
    ["/v1/stream", "acknowledgements", '{"type":"ack","id":"x","seq":1}', 4429],
    ["/v1/responses", "bad messages", "{}", 4400],
    ["/v1/responses", "no JSON", "{", 4400],
  ] as const) {
    test(`with ${what} on ${path}: ${code}, and nobody else notices`, async () => {
      using canary = await StreamClient.connect(service.url);
      const id = `canary-${path.length}-${what.length}-${code}`;
      canary.send({ type: "generate", ...greedy(id, 300) });
      await canary.take("started", id);
      const before = work(await scrape(service.url));
      using attacker = await RawSocket.open(service.url, path);
      const ended = new Promise((resolve) => attacker.socket.once("close", resolve));
      const message = frame({ opcode: text, payload });
      attacker.write(Buffer.concat(Array.from({ length: flood }, () => message)));
      assert.equal(await attacker.closeCode(), code);
      await ended;
      const done = work(await scrape(service.url)) - before;
      assert.ok(done < mostWork, `${done} messages were handled or sent`);
      assert.equal((await canary.take("done", id)).text_sha256, undisturbed);
    });
  }

  test("with large requests that wait on /v1/responses: no more than a few are kept", async () => {
    await using small = await startService(["gpt2"], { maxMessageBytes: 16_384 });
    using attacker = await RawSocket.open(small.url, "/v1/responses");
    const body = { type: "response.create", model: "gpt2", input: "x ".repeat(8_000) };
    const message = frame({ opcode: text, payload: JSON.stringify(body) });
    for (let count = 0; count < 6; count++) attacker.write(message);
    const codes: string[] = [];
    while (codes.length < 6) {
      const answer = await attacker.frame();
      assert.ok(answer !== undefined, "the connection lives");
      if (answer.opcode !== text) continue;
      const { error, response } = JSON.parse(answer.payload.toString()) as Failing & { response?: Failing };
      const failed = error ?? response?.error;
      if (failed !== undefined) codes.push(failed.code);
    }
    assert.ok(codes.includes("generation_share_exceeded"), codes.join());
    assert.ok(codes.includes("context_length_exceeded"), codes.join());
  });
});
