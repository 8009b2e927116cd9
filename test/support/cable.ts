import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";

/** A way to a server that can be cut, as a cable is, and slowed, so that there is a middle of an answer on any machine. */
export class Cable implements AsyncDisposable {
  readonly #server = createServer((near) => this.#join(near));
  readonly #sockets = new Set<Socket>();
  readonly #port: number;
  /** While true, what the server says arrives at about 4 KB/s: some 30 tokens. */
  isSlow = false;

  private constructor(port: number) {
    this.#port = port;
  }

  static async to(url: string): Promise<Cable> {
    const cable = new Cable(Number(new URL(url).port));
    await new Promise<void>((resolve) => cable.#server.listen(0, "127.0.0.1", resolve));
    return cable;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cut();
    await closed;
  }

  #join(near: Socket): void {
    const far = connect(this.#port, "127.0.0.1");
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    }
    const ended = () => {
      near.destroy();
      far.destroy();
    };
    pipeline(near, far).catch(ended);
    pipeline(far, (chunks: AsyncIterable<Buffer>) => this.#paced(chunks), near).catch(ended);
  }

  async *#paced(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.length;) {
        const size = this.isSlow ? 200 : chunk.length;
        if (this.isSlow) await delay(50);
        yield chunk.subarray(at, at + size);
        at += size;
      }
    }
  }
}
