import { equal, ok } from "node:assert/strict";
import { createHash } from "node:crypto";
import { it } from "node:test";
import fc from "fast-check";
import { connectedWorld, delta, done, request, started, type World } from "./world.ts";

type Disturbance =
  | { readonly kind: "frame"; readonly from: number; readonly events: number }
  | { readonly kind: "cut" }
  | { readonly kind: "wait"; readonly ms: number };

const disturbance: fc.Arbitrary<Disturbance> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("frame" as const),
      from: fc.integer({ min: -3, max: 3 }),
      events: fc.integer({ min: 1, max: 6 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "cut" } as const) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 5_000 }) }) },
);

/** The server's log as frames: `started` is event 1, the tokens follow, `done` is last. */
function frame(tokens: readonly string[], first: number, events: number) {
  if (first === 1) return started();
  const texts = tokens.slice(first - 2, first - 2 + events);
  if (texts.length > 0) return delta(first, ...texts);
  return done(tokens.length + 2, createHash("sha256").update(tokens.join("")).digest("hex"));
}

/** Answers the latest `resume`, or a first `generate`, with all that follows, merged at random. */
function answer(world: World, tokens: readonly string[], sizes: readonly number[]): void {
  const asked = world.socket.sent.findLast(({ type }) => type === "resume" || type === "generate");
  let next = asked?.type === "resume" ? asked.after + 1 : 1;
  for (let turn = 0; next <= tokens.length + 2; turn++) {
    const message = frame(tokens, next, sizes[turn % sizes.length] ?? 1);
    world.socket.say(message);
    next = "seq" in message && message.seq !== undefined ? message.seq + 1 : next + 1;
  }
}

it("cuts, merges, repetitions and gaps leave every token exactly once", async () => {
  const scenario = fc.asyncProperty(
    fc.array(fc.string({ minLength: 1, maxLength: 4, unit: "grapheme" }), { minLength: 1, maxLength: 40 }),
    fc.array(disturbance, { maxLength: 60 }),
    fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }),
    async (tokens, disturbances, sizes) => {
      const whole = tokens.join("");
      const world = connectedWorld({ digest: (text) => Promise.resolve(createHash("sha256").update(text).digest("hex")) });
      world.client.generate(request);
      let last = 0;
      for (const step of disturbances) {
        if (step.kind === "cut") world.reconnect();
        else if (step.kind === "wait") world.advance(step.ms);
        else world.socket.say(frame(tokens, Math.max(1, Math.min(last + 1 + step.from, tokens.length + 2)), step.events));
        const latest = world.history.at(-1);
        ok(whole.startsWith(latest?.text ?? ""), "never anything but a beginning of the text");
        last = latest?.last ?? 0;
      }
      world.reconnect();
      answer(world, tokens, sizes);
      await new Promise((resolve) => setImmediate(resolve));
      equal(world.generation.phase.kind, "done");
      equal(world.generation.text, whole);
      equal(world.warnings.length, 0);
    },
  );
  await fc.assert(scenario, { numRuns: 400 });
});
