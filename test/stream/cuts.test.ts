import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { ChaosProxy, fates } from "../support/chaos-proxy.ts";
import { Answer, greedy, StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

/** Where a connection is cut, and by how many of the server's frames the client falls back before it resumes. */
const cut = fc.record({ fate: fates("reset", "end"), fallBackFrames: fc.oneof(fc.constant(0), fc.nat(20)) });

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
        await using proxy = await ChaosProxy.start(service.url, planned?.fate);
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
