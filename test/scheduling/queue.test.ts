import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Job, type JobObserver, type JobRequest } from "../../src/models/job.ts";
import { Queue } from "../../src/models/queue.ts";

const observer: JobObserver = {
  assigned: () => undefined,
  queued: () => undefined,
  started: () => undefined,
  produced: () => undefined,
  interrupted: () => undefined,
  resumed: () => undefined,
  finished: () => undefined,
  failed: () => undefined,
};

let jobs = 0;

function job(fields: Partial<JobRequest> = {}): Job {
  const request: JobRequest = {
    id: `job-${++jobs}`,
    requestId: "of-a-test",
    modelId: "a",
    namesModel: false,
    client: "somebody",
    cacheScope: "",
    priority: 0,
    prompt: { kind: "text", text: "" },
    sampling: {
      temperature: 0,
      topP: 1,
      topK: 1,
      minP: 0,
      seed: 0,
      repeatPenalty: 1,
      presencePenalty: 0,
      frequencyPenalty: 0,
    },
    maxTokens: 1,
    stop: [],
    ignoreEndOfTurn: false,
    format: undefined,
    ...fields,
  };
  return new Job(request, observer);
}

function order(waiting: readonly Job[], running: readonly Job[] = [], now = performance.now()): Job[] {
  const queue = new Queue();
  queue.add(...waiting);
  return [...queue.inOrder(running, now)];
}

test("clients take turns, each with its own jobs in order", () => {
  const [a1, a2, a3] = [job({ client: "a" }), job({ client: "a" }), job({ client: "a" })];
  const [b1, b2] = [job({ client: "b" }), job({ client: "b" })];
  assert.deepEqual(order([a1, a2, a3, b1, b2]), [a1, b1, a2, b2, a3]);
});

test("what runs for a client counts as turns that it has had", () => {
  const running = [job({ client: "a" }), job({ client: "a" })];
  const [a1, b1, b2] = [job({ client: "a" }), job({ client: "b" }), job({ client: "b" })];
  assert.deepEqual(order([a1, b1, b2], running), [b1, b2, a1]);
});

test("priority goes before turns, and what has been interrupted before everything", () => {
  const [ordinary, urgent, parked] = [job(), job({ priority: 1 }), job({ priority: -1 })];
  parked.parked();
  assert.deepEqual(order([ordinary, urgent, parked]), [parked, urgent, ordinary]);
});

test("a job of low priority is served before newer ones in the end", () => {
  const old = job({ priority: -2 });
  const arrivingAfter = (seconds: number) =>
    Object.defineProperty(job({ client: "other" }), "acceptedAt", { value: old.acceptedAt + seconds * 1_000 });
  for (const [seconds, isFirst] of [
    [5, false],
    [60, true],
  ] as const) {
    const fresh = arrivingAfter(seconds);
    assert.deepEqual(order([old, fresh], [], fresh.acceptedAt)[0], isFirst ? old : fresh);
  }
});

test("no order loses or invents a job, and none puts a client's second turn before another's first", () => {
  const fields = fc.record({ client: fc.constantFrom("a", "b", "c"), priority: fc.constantFrom(0, 1) });
  fc.assert(
    fc.property(fc.array(fields, { maxLength: 20 }), (requests) => {
      const waiting = requests.map(job);
      const ordered = order(waiting);
      assert.deepEqual(new Set(ordered), new Set(waiting));
      assert.equal(ordered.length, waiting.length);
      for (const priority of [0, 1]) {
        const turns = new Map<string, number>();
        const firsts = ordered
          .filter(({ request }) => request.priority === priority)
          .map(({ request: { client } }) => {
            const turn = turns.get(client) ?? 0;
            turns.set(client, turn + 1);
            return turn;
          });
        // Turns had in a higher priority count, too: only where there is one priority are they in plain order.
        if (new Set(requests.map((request) => request.priority)).size === 1) {
          assert.deepEqual(
            firsts,
            [...firsts].sort((x, y) => x - y),
          );
        }
      }
    }),
  );
});
