import assert from "node:assert/strict";
import { connect, createServer, type AddressInfo, type Server } from "node:net";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { Answer, greedy, StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

/** Where a connection is cut, in bytes from the server, and to which of its frames the client falls back before it resumes. */
const cut = fc.record({
  afterBytes: fc.oneof(fc.nat(600), fc.nat(20_000)),
  how: fc.constantFrom<Cut["how"]>("reset", "end"),
  fallBackFrames: fc.oneof(fc.constant(0), fc.nat(20)),
});

interface Cut {
  readonly afterBytes: number;
  readonly how: "reset" | "end";
  readonly fallBackFrames: number;
}

describe("connections that are cut anywhere", () => {
  let service: RunningService;
  let undisturbed: Answer;
  const tokens = 150;

  before(async () => {
    service = await startService(["llama"]);
    using client = await StreamClient.connect(service.url);
    undisturbed = await client.generate(greedy("reference", tokens));
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  test("every token arrives exactly once", { timeout: 120_000 }, async () => {
    let runs = 0;
    let broken = 0;
    const property = fc.asyncProperty(fc.array(cut, { maxLength: 12 }), async (cuts) => {
      let answer = new Answer(`cut-${runs++}`);
      for (const planned of [...cuts, undefined]) {
        await using proxy = await CuttingProxy.start(service.url, planned);
        try {
          using client = await StreamClient.connect(proxy.url);
          // Without a frame there is no telling whether the request arrived: it is sent again, under the same id.
          if (answer.lastSeq === 0) client.send({ type: "generate", ...greedy(answer.id, tokens) });
          else client.send({ type: "resume", id: answer.id, after: answer.lastSeq });
          await client.readTo(answer);
          break;
        } catch (thrown) {
          if (thrown instanceof assert.AssertionError || planned === undefined) throw thrown;
          broken++;
          answer = fallenBack(answer, planned.fallBackFrames);
        }
      }
      assert.equal(answer.text, undisturbed.text);
      assert.equal(answer.tokens, tokens);
      assert.equal(answer.lastSeq, undisturbed.lastSeq);
    });
    await fc.assert(property, { numRuns: 15 });
    assert.ok(broken > 15, "the cuts did cut");
  });
});

/** A client that has lost what it was given last, as one does that is loaded again. */
function fallenBack(answer: Answer, frames: number): Answer {
  const kept = answer.snapshots.slice(0, Math.max(0, answer.snapshots.length - frames));
  const older = new Answer(answer.id);
  older.snapshots.push(...kept);
  const last = kept.at(-1);
  if (last === undefined) return older;
  older.lastSeq = last.seq;
  older.text = last.text;
  older.tokens = last.tokens;
  return older;
}

/** Stands between client and server, and cuts the connection in the middle of a frame. */
class CuttingProxy implements AsyncDisposable {
  readonly url: string;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    this.url = `http://localhost:${(server.address() as AddressInfo).port}`;
  }

  static async start(target: string, planned: Cut | undefined): Promise<CuttingProxy> {
    const server = createServer((client) => {
      const upstream = connect(Number(new URL(target).port), "127.0.0.1");
      let left = planned?.afterBytes ?? Infinity;
      client.on("error", () => undefined);
      upstream.on("error", () => undefined);
      client.pipe(upstream);
      client.on("close", () => upstream.destroy());
      upstream.on("close", () => client.destroy());
      upstream.on("data", (chunk) => {
        client.write(chunk.subarray(0, left));
        left -= chunk.length;
        if (left > 0) return;
        upstream.removeAllListeners("data");
        if (planned?.how === "reset") {
          client.resetAndDestroy();
          upstream.resetAndDestroy();
        } else {
          client.end();
          upstream.end();
        }
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new CuttingProxy(server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    await once(this.#server, "close");
  }
}
