import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";

/** What a network without a way does: it says so, or nothing comes through and nobody learns of it. */
export type Outage = "reset" | "silence";

/** A way to a server that can be cut, as a cable is, and slowed, so that there is a middle of an answer on any machine. */
export class Cable implements AsyncDisposable {
  readonly #server = createServer((near) => this.#join(near));
  readonly #sockets = new Set<Socket>();
  readonly #port: number;
  #outage: Outage | undefined;
  /** Connections of an earlier number carry nothing any more. */
  #epoch = 0;
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

  /** Until `mend`. What is connected now stays dead for ever. */
  fail(outage: Outage): void {
    this.#outage = outage;
    this.#epoch++;
    if (outage === "reset") this.cut();
  }

  mend(): void {
    this.#outage = undefined;
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
    this.#add(near);
    if (this.#outage === "reset") near.resetAndDestroy();
    if (this.#outage !== undefined) return;
    const far = connect(this.#port, "127.0.0.1");
    this.#add(far);
    const epoch = this.#epoch;
    const ended = () => {
      near.destroy();
      far.destroy();
    };
    pipeline(near, (chunks: AsyncIterable<Buffer>) => this.#carried(chunks, epoch), far).catch(ended);
    pipeline(far, (chunks: AsyncIterable<Buffer>) => this.#carried(this.#paced(chunks), epoch), near).catch(ended);
  }

  #add(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => this.#sockets.delete(socket));
  }

  async *#carried(chunks: AsyncIterable<Buffer>, epoch: number): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) if (epoch === this.#epoch) yield chunk;
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
