import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { LlamapodClient } from "llamapod/client";
import { CheckedSocket as WebSocket } from "../support/checked-socket.ts";
import { ChaosProxy, fates, type Fate } from "../support/chaos-proxy.ts";
import { Answer, greedy, isFrame, sha256, StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

/** What becomes of a connection, and what its client does. */
interface Plan {
  readonly fate: Fate;
  /** Sent again at once, as a client does that is not sure. */
  readonly extraResumes: number;
  /** How many events less than it has the client acknowledges, all the time: never the end. */
  readonly ackBehind: number;
  /** Whether the client names itself, so that it takes over from its dead connection. */
  readonly isNamed: boolean;
}

const handshakeTimeout = 250;

const anyFate = fates("reset", "end", "silence");

const plan: fc.Arbitrary<Plan> = fc.record({
  fate: anyFate,
  extraResumes: fc.nat(2),
  ackBehind: fc.integer({ min: 1, max: 40 }),
  isNamed: fc.boolean(),
});

describe("clients on a bad network", { timeout: 120_000 }, () => {
  let service: RunningService;
  const tokens = 150;
  const contents = ["One.", "Two.", "Three."];
  const whole: string[] = [];

  before(async () => {
    service = await startService(["llama"]);
    using client = await StreamClient.connect(service.url);
    for (const [index, content] of contents.entries()) {
      whole.push((await client.generate(greedy(`whole-${index}`, tokens, content))).text);
    }
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  test("end with exactly the text, whatever becomes of their connections, resumes and acks", async () => {
    let runs = 0;
    let broken = 0;
    const property = fc.asyncProperty(
      fc.array(plan, { minLength: 2, maxLength: 8 }),
      fc.boolean(),
      async (plans, isCancelled) => {
        const reader = new Reader(`chaos-${runs++}`);
        const zombies: Disposable[] = [];
        for (const planned of [...plans, undefined]) {
          await using proxy = await ChaosProxy.start(service.url, planned?.fate);
          // The silence may begin before the connection stands.
          const client = await StreamClient.connect(proxy.url, { handshakeTimeout }).catch(() => undefined);
          if (client === undefined) {
            broken++;
            continue;
          }
          zombies.push(client);
          // What a dead connection brought late can be the end.
          if (reader.hash !== undefined) break;
          reader.ackBehind = planned?.ackBehind;
          // Of what came over another connection, and before the server knows that this one reads.
          if (reader.last > 0) reader.acknowledge(client);
          const name = planned?.isNamed === true ? { reader: reader.id } : {};
          if (reader.last === 0) client.send({ type: "generate", ...greedy(reader.id, tokens, contents[0]), ...name });
          else client.send({ type: "resume", id: reader.id, after: reader.last, ...name });
          for (let extra = 0; extra < (planned?.extraResumes ?? 0); extra++) {
            if (reader.last > 0) client.send({ type: "resume", id: reader.id, after: reader.last, ...name });
          }
          const ended = await Promise.race([reader.readFrom(client), proxy.fateHasCome.then(() => false)]);
          if (ended) break;
          broken++;
        }
        assert.equal(reader.text, whole[0]);
        assert.equal(reader.hash, sha256(whole[0] ?? ""));
        assert.equal(reader.tokens, tokens);
        if (isCancelled) {
          using late = await StreamClient.connect(service.url);
          late.send({ type: "cancel", id: reader.id });
          late.send({ type: "resume", id: reader.id, after: 0 });
          const end = await late.takeWhere(({ type }) => type === "done" || type === "error");
          assert.equal(end.type === "done" && end.text_sha256, reader.hash, "what has ended cannot be cancelled");
        }
        for (const zombie of zombies) zombie[Symbol.dispose]();
      },
    );
    // To look for a shorter one that fails would take longer than the test may.
    await fc.assert(property, { numRuns: 25, endOnFailure: true });
    assert.ok(broken > 25, "the connections did break");
  });

  test("cancelled anywhere, an answer is a part of the whole, for who asked and for who watches over a bad network", async () => {
    let runs = 0;
    const property = fc.asyncProperty(
      fc.array(anyFate, { minLength: 1, maxLength: 4 }),
      fc.nat(tokens),
      async (planned, cancelAt) => {
        const id = `cancelled-${runs++}`;
        using asker = await StreamClient.connect(service.url);
        asker.send({ type: "generate", ...greedy(id, tokens, contents[0]), reader: "asker" });
        const asked = new Answer(id);
        asked.apply(await asker.take("started", id));
        const watcher = new Reader(id);
        {
          using first = await StreamClient.connect(service.url);
          first.send({ type: "resume", id, after: 0 });
          await first.take("started", id);
        }
        const watching = watcher.readOver(service.url, planned);
        for (let hasEnded = false, isCancelled = false; !hasEnded;) {
          if (!isCancelled && asked.lastSeq >= cancelAt) {
            isCancelled = true;
            asker.send({ type: "cancel", id });
          }
          const message = await asker.takeWhere((candidate) => isFrame(candidate) && candidate.id === id);
          asked.apply(message);
          hasEnded = message.type === "done";
        }
        asker.send({ type: "ack", id, seq: asked.lastSeq });
        await watching;
        assert.ok(whole[0]?.startsWith(asked.text));
        assert.equal(watcher.text, asked.text);
        assert.equal(watcher.tokens, asked.tokens);
        assert.equal(watcher.hash, sha256(asked.text));
      },
    );
    await fc.assert(property, { numRuns: 15 });
  });

  test("server-sent events, cut anywhere and asked for again after the last one, are the whole text", async () => {
    const property = fc.asyncProperty(fc.array(fates("reset", "end"), { minLength: 1, maxLength: 4 }), async (planned) => {
      const events = new EventReader(tokens, contents[0] ?? "");
      for (const next of [...planned, undefined]) {
        await using proxy = await ChaosProxy.start(service.url, next);
        if (await events.readFrom(proxy.url)) break;
      }
      assert.equal(events.text, whole[0]);
    });
    await fc.assert(property, { numRuns: 15 });
  });

  test("llamapod/client gives several answers whole over one connection that breaks again and again", async () => {
    const property = fc.asyncProperty(fc.array(fates("reset", "end"), { minLength: 1, maxLength: 3 }), async (cuts) => {
      await using proxy = await ChaosProxy.start(service.url, ...cuts);
      using client = new LlamapodClient({ url: proxy.url, WebSocket });
      const answers = contents.map((content) => {
        return client.generate({ messages: [{ role: "user", content }], temperature: 0, max_tokens: tokens });
      });
      const results = await Promise.all(answers.map(({ result }) => result));
      assert.deepEqual(
        results.map(({ text }) => text),
        whole,
      );
    });
    await fc.assert(property, { numRuns: 6 });
  });
});

/** A client's rule, and nothing else. */
class Reader {
  readonly id: string;
  text = "";
  tokens = 0;
  last = 0;
  hash: string | undefined;
  /** How many events less than it has it acknowledges; nothing where it is not set. */
  ackBehind: number | undefined;
  /** The connection that counts: what another one brings late is dropped. */
  #current: StreamClient | undefined;

  constructor(id: string) {
    this.id = id;
  }

  acknowledge(client: StreamClient): void {
    if (this.ackBehind === undefined) return;
    client.send({ type: "ack", id: this.id, seq: Math.max(0, this.last - this.ackBehind) });
  }

  /** Resumes over connections with these fates, and a good one at last. */
  async readOver(url: string, fates: readonly Fate[]): Promise<void> {
    for (const planned of [...fates, undefined]) {
      await using proxy = await ChaosProxy.start(url, planned);
      const client = await StreamClient.connect(proxy.url, { handshakeTimeout }).catch(() => undefined);
      if (client === undefined) continue;
      client.send({ type: "resume", id: this.id, after: this.last });
      const hasEnded = await Promise.race([this.readFrom(client), proxy.fateHasCome.then(() => false)]);
      this.#current = undefined;
      client[Symbol.dispose]();
      if (hasEnded || this.hash !== undefined) return;
    }
  }

  /** @returns whether the end has come; false when the connection broke */
  async readFrom(client: StreamClient): Promise<boolean> {
    this.#current = client;
    for (;;) {
      let message;
      try {
        message = await client.takeWhere((candidate) => "id" in candidate && candidate.id === this.id);
      } catch {
        return false;
      }
      if (this.#current !== client) return false;
      // A newer connection reads: this one is about to be left.
      if (message.type === "error" && message.code === "superseded") continue;
      assert.notEqual(message.type, "error", JSON.stringify(message));
      if (!("first" in message) || message.first === undefined || message.seq === undefined || message.seq <= this.last) continue;
      if (message.first !== this.last + 1) {
        client.send({ type: "resume", id: this.id, after: this.last });
        continue;
      }
      this.last = message.seq;
      if (message.type === "delta") {
        this.text += message.text;
        this.tokens += message.n;
      }
      this.acknowledge(client);
      if (message.type !== "done") continue;
      this.hash = message.text_sha256;
      return true;
    }
  }
}

/** A client of the HTTP API that goes on with `Last-Event-ID`. */
class EventReader {
  text = "";
  #last: string | undefined;
  readonly #body: string;

  constructor(tokens: number, content: string) {
    const messages = [{ role: "user", content }];
    this.#body = JSON.stringify({ messages, max_tokens: tokens, temperature: 0, stream: true });
  }

  /** @returns whether the end has come; false when the connection broke */
  async readFrom(url: string): Promise<boolean> {
    try {
      const response = await this.#ask(url);
      const decoder = new TextDecoder();
      let pending = "";
      for await (const chunk of response.body ?? []) {
        pending += decoder.decode(chunk as Uint8Array, { stream: true });
        const blocks = pending.split("\n\n");
        pending = blocks.pop() ?? "";
        for (const block of blocks) this.#take(block);
      }
      return true;
    } catch {
      return false;
    }
  }

  #ask(url: string): Promise<Response> {
    const last = this.#last;
    if (last === undefined) {
      const headers = { "Content-Type": "application/json", "Llamapod-Detach": "grace=30" };
      // Nothing of it has come: it is asked for anew.
      return fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body: this.#body });
    }
    const id = last.split(":")[0] ?? "";
    return fetch(`${url}/v1/generations/${id}/events`, { headers: { "Last-Event-ID": last } });
  }

  #take(block: string): void {
    const [, id, data] = /^id: (.+)\ndata: (.+)$/.exec(block) ?? [];
    if (id === undefined || data === undefined) return;
    this.#last = id;
    const { choices } = JSON.parse(data) as { choices: { delta: { content?: string } }[] };
    this.text += choices[0]?.delta.content ?? "";
  }
}
