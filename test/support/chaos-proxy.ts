import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/** What happens to a connection after so many bytes from the server: it ends, with or without a word, or falls silent. */
export interface Fate {
  readonly afterBytes: number;
  readonly how: "reset" | "end" | "silence";
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
