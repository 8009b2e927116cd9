import type { ClientMessageInput } from "../protocol/stream.ts";
import type { Surroundings } from "./connection.ts";

/** As much as the server takes in so long may go out at once. It allows twice as much, which is for what the network holds up. */
const burstMs = 1_000;

/**
 * What is to be said over one connection, no faster than the server takes it: it would refuse more, and then close. Acknowledgements
 * wait for everything else, and only the latest one of an answer does.
 */
export class Outbox {
  readonly #surroundings: Surroundings;
  readonly #send: (message: ClientMessageInput) => void;
  readonly #intervalMs: number;
  readonly #waiting: ClientMessageInput[] = [];
  readonly #acks = new Map<string, ClientMessageInput>();
  /** When all that went out would have gone at an even pace. */
  #evenlyMs = 0;
  #cancelTimer: () => void = () => undefined;

  /** @param messagesPerSecond may be infinite */
  constructor(surroundings: Surroundings, messagesPerSecond: number, send: (message: ClientMessageInput) => void) {
    this.#surroundings = surroundings;
    this.#intervalMs = 1_000 / messagesPerSecond;
    this.#send = send;
  }

  add(message: ClientMessageInput): void {
    if (message.type === "ack") this.#acks.set(message.id, message);
    // Its answer is waited for.
    else if (message.type === "ping") this.#waiting.unshift(message);
    else this.#waiting.push(message);
    this.#deliver();
  }

  /** The connection is gone, and what was not sent goes with it. */
  close(): void {
    this.#cancelTimer();
  }

  #deliver(): void {
    this.#cancelTimer();
    while (this.#waiting.length + this.#acks.size > 0) {
      const nowMs = this.#surroundings.nowMs();
      const nextMs = Math.max(this.#evenlyMs, nowMs) + this.#intervalMs;
      if (nextMs - burstMs > nowMs) {
        this.#cancelTimer = this.#surroundings.after(nextMs - burstMs - nowMs, () => this.#deliver());
        return;
      }
      this.#evenlyMs = nextMs;
      const message = this.#next();
      if (message !== undefined) this.#send(message);
    }
  }

  #next(): ClientMessageInput | undefined {
    const message = this.#waiting.shift();
    if (message !== undefined) return message;
    const [ack] = this.#acks;
    if (ack === undefined) return undefined;
    this.#acks.delete(ack[0]);
    return ack[1];
  }
}
