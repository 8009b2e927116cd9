import { WebSocket } from "ws";
import type { Limits } from "../protocol/limits.ts";
import { closeCodes } from "../protocol/stream.ts";
import type { Transport } from "../stream/session.ts";

/** Bytes that may wait in a socket before nothing more is added. The model goes on; the log keeps what follows. */
const congestionBytes = 256 * 1024;

/** Messages that are passed over while the connection closes. Then nothing more is read of it, and it is cut. */
const passedOverWhileClosing = 100;

/** A WebSocket as sessions see it, which holds no more for a client that does not read than the limits allow. */
export class SocketTransport implements Transport {
  onDrain: () => void = () => undefined;
  readonly #socket: WebSocket;
  readonly #maxBufferedBytes: number;
  readonly #stallMs: number;
  /** Somebody has found the socket congested and waits to be told. */
  #isAwaited = false;
  /** Runs while something waits to be written, anew with whatever has been. */
  #stall: NodeJS.Timeout | undefined;
  #passedOver = 0;
  #closedWith: number | undefined;

  constructor(socket: WebSocket, { maxBufferedBytes, stallSeconds }: Limits) {
    this.#socket = socket;
    this.#maxBufferedBytes = maxBufferedBytes;
    this.#stallMs = stallSeconds * 1_000;
    socket.once("close", () => {
      clearTimeout(this.#stall);
    });
  }

  get congested(): boolean {
    const isFull = this.#isFull;
    this.#isAwaited ||= isFull;
    return isFull;
  }

  /** The code with which this side has closed the connection. A client that does not read never says it back. */
  get closedWith(): number | undefined {
    return this.#closedWith;
  }

  /** Whether a message that has come still counts. Those after the close frame of this side do not. */
  get listens(): boolean {
    if (this.#socket.readyState === WebSocket.OPEN) return true;
    if (++this.#passedOver === passedOverWhileClosing) this.#socket.pause();
    return false;
  }

  send(text: string): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (this.#socket.bufferedAmount > this.#maxBufferedBytes) {
      this.close(closeCodes.tooSlow, "too much waits to be read");
      return;
    }
    this.#socket.send(text, () => {
      this.#written();
    });
    if (this.#socket.bufferedAmount > 0) {
      this.#stall ??= setTimeout(() => {
        this.close(closeCodes.tooSlow, "nothing was read for too long");
      }, this.#stallMs);
    }
  }

  close(code: number, reason: string): void {
    this.#closedWith ??= code;
    this.#socket.close(code, reason);
  }

  get #isFull(): boolean {
    return this.#socket.bufferedAmount > Math.min(congestionBytes, this.#maxBufferedBytes / 2);
  }

  #written(): void {
    if (this.#socket.bufferedAmount > 0) this.#stall?.refresh();
    else if (this.#stall !== undefined) {
      clearTimeout(this.#stall);
      this.#stall = undefined;
    }
    if (!this.#isAwaited || this.#isFull) return;
    this.#isAwaited = false;
    this.onDrain();
  }
}
