import assert from "node:assert/strict";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { LlamapodClient } from "llamapod/client";
import { WebSocket } from "ws";
import { greedy, isFrame, sha256, StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

/** What happens to a connection after so many bytes from the server: it ends, with or without a word, or falls silent. */
interface Fate {
  readonly afterBytes: number;
  readonly how: "reset" | "end" | "silence";
  /** Sent again at once, as a client does that is not sure. */
  readonly extraResumes: number;
  /** How many events less than it has the client acknowledges. */
  readonly ackBehind: number;
  /** Whether the client names itself, so that it takes over from its dead connection. */
  readonly isNamed: boolean;
}

const handshakeTimeout = 250;

const fate: fc.Arbitrary<Fate> = fc.record({
  afterBytes: fc.oneof(fc.nat(700), fc.nat(3_000), fc.nat(15_000)),
  how: fc.constantFrom("reset", "end", "silence"),
  extraResumes: fc.nat(2),
  ackBehind: fc.nat(40),
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
      fc.array(fate, { minLength: 2, maxLength: 8 }),
      fc.boolean(),
      async (fates, isCancelled) => {
        const reader = new Reader(`chaos-${runs++}`);
        const zombies: Disposable[] = [];
        for (const planned of [...fates, undefined]) {
          await using proxy = await ChaosProxy.start(service.url, planned);
          // The silence may begin before the connection stands.
          const client = await StreamClient.connect(proxy.url, { handshakeTimeout }).catch(() => undefined);
          if (client === undefined) {
            broken++;
            continue;
          }
          zombies.push(client);
          // What a dead connection brought late can be the end.
          if (reader.hash !== undefined) break;
          const name = planned?.isNamed === true ? { reader: reader.id } : {};
          if (reader.last === 0) client.send({ type: "generate", ...greedy(reader.id, tokens, contents[0]), ...name });
          else client.send({ type: "resume", id: reader.id, after: reader.last, ...name });
          for (let extra = 0; extra < (planned?.extraResumes ?? 0); extra++) {
            if (reader.last > 0) client.send({ type: "resume", id: reader.id, after: reader.last, ...name });
          }
          const ended = await Promise.race([reader.readFrom(client), proxy.fateHasCome.then(() => false)]);
          if (ended) break;
          broken++;
          // From a connection that is dead, or will be: late, and behind what it has.
          client.send({ type: "ack", id: reader.id, seq: Math.max(0, reader.last - (planned?.ackBehind ?? 0)) });
        }
        assert.equal(reader.text, whole[0]);
        assert.equal(reader.hash, sha256(whole[0] ?? ""));
        assert.equal(reader.tokens, tokens);
        if (isCancelled) {
          using late = await StreamClient.connect(service.url);
          late.send({ type: "cancel", id: reader.id });
          late.send({ type: "resume", id: reader.id, after: 0 });
          assert.equal((await late.take("done", reader.id)).text_sha256, reader.hash, "what has ended cannot be cancelled");
        }
        for (const zombie of zombies) zombie[Symbol.dispose]();
      },
    );
    await fc.assert(property, { numRuns: 25 });
    assert.ok(broken > 25, "the connections did break");
  });

  test("llamapod/client gives several answers whole over one connection that breaks again and again", async () => {
    const cut = fc.record({ afterBytes: fc.integer({ min: 200, max: 30_000 }), how: fc.constantFrom("reset", "end") });
    const property = fc.asyncProperty(fc.array(cut, { minLength: 1, maxLength: 3 }), async (cuts) => {
      const fates = cuts.map((planned) => ({ ...planned, extraResumes: 0, ackBehind: 0, isNamed: true }) as const);
      await using proxy = await ChaosProxy.start(service.url, ...fates);
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
  /** The connection that counts: what another one brings late is dropped. */
  #current: StreamClient | undefined;

  constructor(id: string) {
    this.id = id;
  }

  /** @returns whether the end has come; false when the connection broke */
  async readFrom(client: StreamClient): Promise<boolean> {
    this.#current = client;
    for (;;) {
      let message;
      try {
        message = await client.takeWhere((candidate) => isFrame(candidate) && candidate.id === this.id);
      } catch {
        return false;
      }
      if (this.#current !== client) return false;
      if (!("first" in message) || message.first === undefined || message.seq === undefined || message.seq <= this.last) continue;
      if (message.first !== this.last + 1) {
        client.send({ type: "resume", id: this.id, after: this.last });
        continue;
      }
      assert.notEqual(message.type, "error", JSON.stringify(message));
      this.last = message.seq;
      if (message.type === "delta") {
        this.text += message.text;
        this.tokens += message.n;
      }
      if (message.type !== "done") continue;
      this.hash = message.text_sha256;
      return true;
    }
  }
}

/** Stands between client and server. Its first connections have the given fates, all others none. */
class ChaosProxy implements AsyncDisposable {
  readonly fateHasCome: Promise<void>;
  readonly #server = createServer((near) => this.#join(near));
  readonly #sockets = new Set<Socket>();
  readonly #target: number;
  readonly #fates: (Fate | undefined)[];
  #come: () => void = () => undefined;

  private constructor(target: string, fates: readonly (Fate | undefined)[]) {
    this.#target = Number(new URL(target).port);
    this.#fates = [...fates];
    this.fateHasCome = new Promise((resolve) => {
      this.#come = resolve;
    });
  }

  static async start(target: string, ...fates: readonly (Fate | undefined)[]): Promise<ChaosProxy> {
    const proxy = new ChaosProxy(target, fates);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Not its sockets: a dead connection may stay open for long.
    this.#server.close();
    for (const socket of this.#sockets) socket.unref();
    await Promise.resolve();
  }

  #join(near: Socket): void {
    const far = connect(this.#target, "127.0.0.1");
    const planned = this.#fates.shift();
    let left = planned?.afterBytes ?? Infinity;
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.#sockets.delete(socket);
        if (planned?.how !== "silence") other.destroy();
      });
    }
    near.on("data", (chunk) => {
      if (left > 0) far.write(chunk);
    });
    far.on("data", (chunk: Buffer) => {
      if (left <= 0) return;
      near.write(chunk.subarray(0, left));
      left -= chunk.length;
      if (left > 0) return;
      if (planned?.how === "reset") for (const socket of [near, far]) socket.resetAndDestroy();
      if (planned?.how === "end") for (const socket of [near, far]) socket.end();
      this.#come();
    });
  }
}
