import { deepEqual, equal, ok } from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, it } from "node:test";
import { connectedWorld, delta, done, request, started, World } from "./world.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const digest = (text: string) => Promise.resolve(sha256(text));
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("a generation over one connection", () => {
  it("puts the deltas together and ends with done", async () => {
    const world = connectedWorld({ digest });
    world.client.generate(request);
    deepEqual(world.socket.sentOf("generate"), [request]);
    for (const message of [started(), delta(2, "Hel"), delta(3, "lo"), done(4, sha256("Hello"))]) world.socket.say(message);
    await settled();
    equal(world.generation.text, "Hello");
    equal(world.generation.phase.kind, "done");
    equal(world.generation.tokens, 2);
  });

  it("waits for hello before it says anything", () => {
    const world = new World();
    world.client.generate(request);
    deepEqual(world.socket.sent, []);
    world.socket.hello();
    deepEqual(world.socket.sent, [request]);
  });

  it("tells the place in the queue", () => {
    const world = connectedWorld();
    world.client.generate(request);
    world.socket.say({ type: "queued", id: "g", position: 3, reason: "slot" });
    deepEqual(world.generation.phase, { kind: "queued", position: 3, reason: "slot" });
  });

  it("ignores what it has already and asks for what it misses", () => {
    const world = connectedWorld();
    world.client.generate(request);
    for (const message of [started(), delta(2, "a"), delta(2, "a"), delta(4, "c")]) world.socket.say(message);
    equal(world.generation.text, "a");
    deepEqual(world.socket.sentOf("resume"), [{ type: "resume", id: "g", after: 2 }]);
    world.socket.say(delta(5, "d"));
    equal(world.socket.sentOf("resume").length, 1, "one answer is under way already");
    world.socket.say(delta(3, "b", "c", "d"));
    equal(world.generation.text, "abcd");
  });

  it("asks again when a frame overlaps what it has", () => {
    const world = connectedWorld();
    world.client.generate(request);
    for (const message of [started(), delta(2, "a"), delta(2, "a", "b")]) world.socket.say(message);
    equal(world.generation.text, "a");
    deepEqual(world.socket.sentOf("resume"), [{ type: "resume", id: "g", after: 2 }]);
  });

  it("acknowledges every 16 events, and the rest after a second", () => {
    const world = connectedWorld();
    world.client.generate(request);
    world.socket.say(started());
    for (let seq = 2; seq <= 17; seq++) world.socket.say(delta(seq, "x"));
    deepEqual(world.socket.sentOf("ack"), [{ type: "ack", id: "g", seq: 16 }]);
    world.advance(1_000);
    deepEqual(world.socket.sentOf("ack").at(-1), { type: "ack", id: "g", seq: 17 });
  });

  it("acknowledges the end only after it was delivered", async () => {
    const world = connectedWorld({ digest });
    world.client.generate(request);
    for (const message of [started(), delta(2, "a"), done(3, sha256("a"))]) world.socket.say(message);
    deepEqual(world.socket.sentOf("ack"), []);
    await settled();
    equal(world.generation.phase.kind, "done");
    deepEqual(world.socket.sentOf("ack"), [{ type: "ack", id: "g", seq: 3 }]);
  });

  it("reads all of it again when the text does not match its digest", async () => {
    const world = connectedWorld({ digest });
    world.client.generate(request);
    for (const message of [started(), delta(2, "wrong"), done(3, sha256("right"))]) world.socket.say(message);
    await settled();
    equal(world.warnings.length, 1);
    deepEqual(world.socket.sentOf("resume"), [{ type: "resume", id: "g", after: 0 }]);
    for (const message of [started(), delta(2, "right"), done(3, sha256("right"))]) world.socket.say(message);
    await settled();
    equal(world.generation.text, "right");
    equal(world.generation.phase.kind, "done");
  });

  it("ends with the server's error and says whether trying again makes sense", () => {
    const world = connectedWorld();
    world.client.generate(request);
    world.socket.say({ type: "error", id: "g", first: 1, seq: 1, code: "overloaded", message: "full", retryable: true });
    deepEqual(world.generation.phase, { kind: "failed", failure: { code: "overloaded", message: "full", retryable: true } });
  });

  it("does not send what the server would close the connection for", () => {
    const world = new World();
    world.client.connect();
    world.socket.hello({ max_message_bytes: 64 });
    world.client.generate({ ...request, messages: [{ role: "user", content: "é".repeat(64) }] });
    deepEqual(world.socket.sent, []);
    equal(world.generation.phase.kind, "failed");
  });

  it("counts in that what it adds itself", () => {
    const sent = { ...request, reader: "r" };
    const bytes = JSON.stringify(sent).length;
    for (const [limit, expected] of [
      [bytes - 1, []],
      [bytes, [sent]],
    ] as const) {
      const world = new World({ reader: "r" });
      world.client.connect();
      world.socket.hello({ max_message_bytes: limit });
      world.client.generate(request);
      deepEqual(world.socket.sent, expected);
    }
  });

  it("ignores frames it does not understand", () => {
    const world = connectedWorld();
    world.client.generate(request);
    for (const frame of ["", "nonsense", "[]", "null", '{"type":"later"}', '{"type":"delta","id":"g"}', '{"type":"toString"}']) {
      world.socket.sayRaw(frame);
    }
    equal(world.history.length, 0);
  });
});

describe("a lost connection", () => {
  it("is made again, and the generation goes on after the last event", () => {
    const world = connectedWorld();
    world.client.generate(request);
    for (const message of [started(), delta(2, "a")]) world.socket.say(message);
    world.reconnect();
    deepEqual(world.socket.sent, [{ type: "resume", id: "g", after: 2 }]);
    world.socket.say(delta(3, "b"));
    equal(world.generation.text, "ab");
  });

  it("before the first event, asks the same question with the same id", () => {
    const world = connectedWorld();
    world.client.generate(request);
    world.reconnect();
    deepEqual(world.socket.sent, [request]);
  });

  it("is noticed when nothing answers a ping", () => {
    const world = connectedWorld();
    world.advance(15_000);
    equal(world.socket.sentOf("ping").length, 1);
    world.advance(10_000);
    equal(world.states.at(-1), "waiting");
  });

  it("is not suspected while pings are answered", () => {
    const world = connectedWorld();
    for (let round = 0; round < 10; round++) {
      world.advance(16_000);
      world.socket.say({ type: "pong" });
    }
    equal(world.sockets.length, 1);
  });

  it("is noticed within seconds when the network is known to have changed", () => {
    const world = connectedWorld();
    world.client.probe();
    world.advance(4_000);
    equal(world.states.at(-1), "waiting");
  });

  it("is tried again less and less often", () => {
    const world = connectedWorld();
    const attempts: number[] = [];
    for (let attempt = 0; attempt < 8; attempt++) {
      world.socket.cut();
      let waitedMs = 0;
      for (const before = world.sockets.length; world.sockets.length === before; waitedMs += 50) world.advance(50);
      attempts.push(waitedMs);
    }
    deepEqual(attempts, [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]);
  });

  it("is tried again at a time that is drawn, so that those who were cut together come back apart", () => {
    const cameBackAfterMs = [0, 0.5, 1].map((drawn) => {
      const world = connectedWorld({ random: () => drawn });
      world.socket.cut();
      let waitedMs = 0;
      for (; world.sockets.length === 1; waitedMs++) world.advance(1);
      return waitedMs;
    });
    deepEqual(cameBackAfterMs, [125, 188, 250]);
  });

  it("is given up when a server that accepts says nothing", () => {
    const world = new World();
    world.client.connect();
    world.advance(10_000);
    ok(world.sockets[0]?.isClosed);
    equal(world.states.at(-1), "waiting");
  });

  for (const code of [1000, 1001, 1006, 1011, 1012, 1013]) {
    it(`with close code ${code} is made again`, () => {
      const world = connectedWorld();
      world.socket.cut(code);
      equal(world.states.at(-1), "waiting");
    });
  }

  for (const code of [1002, 1003, 1007, 1008, 1009, 4400, 4401, 4403, 4408, 4426, 4429]) {
    it(`with close code ${code} is not made again by itself`, () => {
      const world = connectedWorld();
      world.socket.cut(code);
      world.advance(60_000);
      equal(world.sockets.length, 1);
      equal(world.states.at(-1), "refused");
      world.client.connect();
      equal(world.sockets.length, 2, "but when the user asks for it");
    });
  }

  it("waits as long as a draining server asked for", () => {
    const world = connectedWorld();
    world.socket.say({ type: "notice", kind: "draining", reconnect_after_ms: 5_000 });
    world.advance(3_000);
    world.socket.cut(1001);
    world.advance(2_000);
    equal(world.sockets.length, 1, "a little later, so that not all come at once");
    world.advance(250);
    equal(world.sockets.length, 2);
  });

  for (const code of [1001, 1012]) {
    it(`waits that long with close code ${code}, whatever is under way`, () => {
      const world = connectedWorld();
      world.client.generate(request);
      world.socket.say({ type: "notice", kind: "draining", reconnect_after_ms: 5_000 });
      world.socket.cut(code);
      world.advance(5_000);
      equal(world.sockets.length, 1);
      world.advance(250);
      equal(world.sockets.length, 2);
    });
  }

  it("does not wait that long where it only broke: a draining server ends when nobody reads", () => {
    const world = connectedWorld();
    world.client.generate(request);
    world.socket.say(started());
    world.socket.say({ type: "notice", kind: "draining", reconnect_after_ms: 30_000 });
    world.socket.cut();
    world.advance(250);
    world.socket.hello();
    deepEqual(world.socket.sent, [{ type: "resume", id: "g", after: 1 }]);
  });

  it("waits that long where nothing is under way", () => {
    const world = connectedWorld();
    world.socket.say({ type: "notice", kind: "draining", reconnect_after_ms: 30_000 });
    world.socket.cut();
    world.advance(30_000);
    equal(world.sockets.length, 1);
  });

  it("asks again, later, for what was refused only because many asked again at once", () => {
    const world = connectedWorld();
    world.client.generate(request);
    world.reconnect();
    equal(world.socket.sentOf("generate").length, 1);
    world.socket.say({
      type: "error",
      id: "g",
      code: "too_many_messages",
      message: "Slower.",
      retryable: true,
      retry_after_ms: 500,
    });
    world.advance(500);
    equal(world.socket.sentOf("generate").length, 2);
    world.socket.say(started());
    equal(world.generation.phase.kind, "streaming");
  });

  it("does not hear what an earlier socket still says", () => {
    const world = connectedWorld();
    world.client.generate(request);
    const [earlier] = world.sockets;
    world.advance(25_000);
    world.advance(1_000);
    world.socket.hello();
    earlier?.say(started());
    earlier?.cut(4400);
    equal(world.history.length, 0);
    equal(world.states.at(-1), "open");
  });
});

describe("a server that takes so many messages in a second", () => {
  function limitedWorld(messagesPerSecond: number): World {
    const world = new World();
    world.client.connect();
    world.socket.hello({ max_messages_per_second: messagesPerSecond });
    return world;
  }

  function generateMany(world: World, count: number): void {
    for (let index = 0; index < count; index++) world.client.generate({ ...request, id: `g${index}` });
  }

  it("is sent no more, also when much is taken up at once", () => {
    const world = limitedWorld(100);
    generateMany(world, 25);
    world.socket.cut();
    world.advance(250);
    world.socket.hello({ max_messages_per_second: 10 });
    const sentAfterSeconds = [world.socket.sent.length];
    for (let second = 0; second < 2; second++) {
      world.advance(1_000);
      sentAfterSeconds.push(world.socket.sent.length);
    }
    deepEqual(sentAfterSeconds, [10, 20, 25]);
    deepEqual(
      world.socket.sentOf("generate").map(({ id }) => id),
      Array.from({ length: 25 }, (_, index) => `g${index}`),
    );
  });

  it("is asked first, and told what was applied when there is room", () => {
    const world = limitedWorld(1);
    world.client.generate(request);
    world.socket.say(started());
    for (let seq = 2; seq <= 32; seq++) world.socket.say(delta(seq, "x"));
    world.client.cancel("g");
    world.advance(1_000);
    deepEqual(world.socket.sent.slice(1), [{ type: "cancel", id: "g" }]);
    world.advance(1_000);
    deepEqual(world.socket.sent.slice(2), [{ type: "ack", id: "g", seq: 32 }]);
    world.advance(2_000);
    equal(world.socket.sent.length, 3);
  });

  it("is pinged nevertheless", () => {
    const world = limitedWorld(10);
    generateMany(world, 100);
    world.client.probe();
    world.advance(100);
    equal(world.socket.sentOf("ping").length, 1);
  });

  it("is not sent on another connection what waited for the one before", () => {
    const world = limitedWorld(10);
    generateMany(world, 25);
    world.socket.cut();
    world.advance(250);
    world.socket.hello();
    world.advance(5_000);
    equal(world.socket.sent.length, 25);
  });
});

describe("a generation of an earlier page", () => {
  const saved = { id: "g", request, last: 3, text: "ab", tokens: 2, phase: { kind: "streaming" } } as const;

  it("goes on after its last event", async () => {
    const world = new World({ digest });
    world.client.continue(saved);
    world.socket.hello();
    deepEqual(world.socket.sent, [{ type: "resume", id: "g", after: 3 }]);
    for (const message of [delta(4, "c"), done(5, sha256("abc"))]) world.socket.say(message);
    await settled();
    equal(world.generation.text, "abc");
    equal(world.generation.phase.kind, "done");
  });

  it("that had its last event is only checked", async () => {
    const world = new World({ digest });
    const last = done(4, sha256("ab"));
    if (last.type !== "done") throw new TypeError("done makes a done");
    world.client.continue({ ...saved, last: 4, phase: { kind: "verifying", done: last } });
    world.socket.hello();
    await settled();
    equal(world.generation.phase.kind, "done");
    deepEqual(world.socket.sentOf("resume"), []);
  });

  for (const code of ["resume_expired", "generation_not_found"] as const) {
    it(`ends in failure when the server answers ${code}`, () => {
      const world = new World();
      world.client.continue(saved);
      world.socket.hello();
      world.socket.say({ type: "error", id: "g", code, message: "gone", retryable: false });
      deepEqual(world.generation.phase, { kind: "failed", failure: { code, message: "gone", retryable: false } });
      equal(world.generation.text, "ab");
    });
  }

  it("is asked for again when the server could not resume it just now", () => {
    const world = new World();
    world.client.continue(saved);
    world.socket.hello();
    const busy = { type: "error", id: "g", code: "too_many_messages", message: "slow down", retryable: true } as const;
    world.socket.say({ ...busy, retry_after_ms: 700 });
    world.advance(700);
    equal(world.socket.sentOf("resume").length, 2);
  });
});

describe("stopping", () => {
  const refused = {
    type: "error",
    id: "g",
    code: "too_many_messages",
    message: "Slower.",
    retryable: true,
    retry_after_ms: 500,
  } as const;

  it("is asked for again when it was refused, though the answer goes on meanwhile", async () => {
    const world = connectedWorld();
    world.client.generate(request);
    for (const message of [started(), delta(2, "a")]) world.socket.say(message);
    world.client.cancel("g");
    for (const message of [refused, delta(3, "b")]) world.socket.say(message);
    world.advance(500);
    equal(world.socket.sentOf("cancel").length, 2);
    deepEqual(world.socket.sentOf("resume"), [{ type: "resume", id: "g", after: 3 }], "if it was this that was refused");
    world.socket.say(refused);
    world.advance(500);
    equal(world.socket.sentOf("cancel").length, 3);
    world.socket.say(done(4, "", "cancelled"));
    await settled();
    equal(world.generation.phase.kind, "done");
    world.advance(5_000);
    equal(world.socket.sentOf("cancel").length, 3);
  });

  it("is asked for again before the first event, too", () => {
    const world = connectedWorld();
    world.client.generate(request);
    world.client.cancel("g");
    world.socket.say(refused);
    equal(world.history.length, 0, "nothing has ended");
    world.advance(500);
    equal(world.socket.sentOf("cancel").length, 2);
    world.socket.say({ type: "error", id: "g", code: "generation_not_found", message: "It was the request.", retryable: false });
    equal(world.generation.phase.kind, "abandoned");
  });

  it("asks the server, and ends with what it says", async () => {
    const world = connectedWorld();
    world.client.generate(request);
    for (const message of [started(), delta(2, "a")]) world.socket.say(message);
    world.client.cancel("g");
    deepEqual(world.socket.sentOf("cancel"), [{ type: "cancel", id: "g" }]);
    world.socket.say(done(3, "", "cancelled"));
    await settled();
    equal(world.generation.phase.kind, "done");
  });

  it("without a connection ends at once, and the server is told later", () => {
    const world = connectedWorld();
    world.client.generate(request);
    world.socket.say(started());
    world.socket.cut();
    world.client.cancel("g");
    equal(world.generation.phase.kind, "abandoned");
    world.advance(1_000);
    world.socket.hello();
    deepEqual(world.socket.sent, [{ type: "cancel", id: "g" }]);
  });

  it("does not wait for an answer that a lost connection swallowed", () => {
    const world = connectedWorld();
    world.client.generate(request);
    world.socket.say(started());
    world.client.cancel("g");
    world.socket.cut();
    equal(world.generation.phase.kind, "abandoned");
  });
});
