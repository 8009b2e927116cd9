import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import fc from "fast-check";

/** What happens to a connection after so many bytes from one of its ends: it ends, with or without a word, or falls silent. */
export interface Fate {
  readonly from: "client" | "server";
  readonly afterBytes: number;
  readonly how: "reset" | "end" | "silence";
}

/** Fates that come in the middle of anything: of an answer, or of what is asked, some 270 bytes of handshake and then messages. */
export function fates(...hows: readonly Fate["how"][]): fc.Arbitrary<Fate> {
  const how = fc.constantFrom(...hows);
  const ofServer = fc.oneof(fc.nat(700), fc.nat(3_000), fc.nat(15_000));
  const ofClient = fc.oneof(fc.nat(700), fc.integer({ min: 270, max: 400 }));
  return fc.oneof(
    { weight: 2, arbitrary: fc.record({ from: fc.constant("server" as const), afterBytes: ofServer, how }) },
    { weight: 1, arbitrary: fc.record({ from: fc.constant("client" as const), afterBytes: ofClient, how }) },
  );
}

/** Stands between client and server. Its first connections have the given fates, all others none. */
export class ChaosProxy implements AsyncDisposable {
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
    for (const [end, socket, other] of [
      ["client", near, far],
      ["server", far, near],
    ] as const) {
      socket.on("data", (chunk: Buffer) => {
        if (left <= 0) return;
        if (planned?.from !== end) {
          other.write(chunk);
          return;
        }
        other.write(chunk.subarray(0, left));
        left -= chunk.length;
        if (left > 0) return;
        if (planned.how === "reset") for (const each of [near, far]) each.resetAndDestroy();
        if (planned.how === "end") for (const each of [near, far]) each.end();
        this.#come();
      });
    }
  }
}
