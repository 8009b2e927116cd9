import type { ClientMessageInput, ServerMessage } from "../protocol/stream.ts";
import { Outbox } from "./outbox.ts";
import { parseServerMessage } from "./wire.ts";

export interface Socket {
  send(frame: string): void;
  close(): void;
}

export interface SocketEvents {
  received(frame: string): void;
  closed(code: number, reason: string): void;
}

/** What the connection needs of the world; the browser's is in `browser.ts`, the tests have their own. */
export interface Surroundings {
  connect(events: SocketEvents): Socket;
  nowMs(): number;
  /** Runs something later; the result cancels it. */
  after(delayMs: number, run: () => void): () => void;
  /** 0 to 1. */
  random(): number;
}

export type ConnectionState =
  | { readonly kind: "idle" }
  | { readonly kind: "connecting"; readonly attempt: number }
  | { readonly kind: "open" }
  /** With the server's reason, which is empty where it gave none. */
  | { readonly kind: "waiting"; readonly attempt: number; readonly delayMs: number; readonly reason: string }
  /** The server said that trying again changes nothing. */
  | { readonly kind: "refused"; readonly code: number; readonly reason: string };

export interface ConnectionEvents {
  changed(state: ConnectionState): void;
  received(message: ServerMessage): void;
}

const helloTimeoutMs = 10_000;
const quietMs = 15_000;
const pongTimeoutMs = 10_000;
const probeTimeoutMs = 4_000;
const firstDelayMs = 250;
/** What a page gets that was frozen in the background. */
const idleCloseCode = 4408;
const longestDelayMs = 15_000;

/** The server is going: not only this connection to it. */
const goingCloseCodes: readonly (number | undefined)[] = [1001, 1012];

/** 10xx may be tried again as it is, but for those that say the message itself was wrong; 4xxx may not. */
export function mayRetry(closeCode: number): boolean {
  return closeCode < 4000 && ![1002, 1003, 1007, 1008, 1009].includes(closeCode);
}

export function retryDelayMs(attempt: number, random: number): number {
  const ceiling = Math.min(longestDelayMs, firstDelayMs * 2 ** Math.min(attempt, 16));
  return Math.round(ceiling * (0.5 + random / 2));
}

/** One WebSocket kept alive: opened again when it breaks, and broken when it is only apparently open. */
export class Connection {
  readonly #surroundings: Surroundings;
  readonly #events: ConnectionEvents;
  readonly #isBusy: () => boolean;
  #state: ConnectionState = { kind: "idle" };
  #socket: Socket | undefined;
  /** There is one while the connection is open. */
  #outbox: Outbox | undefined;
  /** Tells events of the current socket from those of one that was given up. */
  #epoch = 0;
  #attempt = 0;
  /** Before then the server, which is going away, wants nobody back. */
  #notBeforeMs = 0;
  #cancelTimer: () => void = () => undefined;

  /** @param isBusy whether something is under way that needs it */
  constructor(surroundings: Surroundings, events: ConnectionEvents, isBusy: () => boolean) {
    this.#surroundings = surroundings;
    this.#events = events;
    this.#isBusy = isBusy;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Connects now, unless that is so or under way. */
  open(): void {
    if (this.#state.kind === "open" || this.#state.kind === "connecting") return;
    this.#connect();
  }

  close(): void {
    this.#abandonSocket();
    this.#become({ kind: "idle" });
  }

  /** At once, or when the server takes more again. False when there is no connection to say it on. */
  send(message: ClientMessageInput): boolean {
    this.#outbox?.add(message);
    return this.#outbox !== undefined;
  }

  /** Something happened to the network or the page: find out quickly whether the connection survived, or get a new one. */
  probe(): void {
    const timedOut = this.#state.kind === "refused" && this.#state.code === idleCloseCode;
    if (this.#state.kind === "waiting" || timedOut) this.#connect();
    else if (this.#state.kind === "open") this.#ping(probeTimeoutMs);
  }

  #connect(): void {
    this.#abandonSocket();
    const epoch = this.#epoch;
    this.#become({ kind: "connecting", attempt: this.#attempt });
    this.#setTimer(helloTimeoutMs, () => this.#lost());
    this.#socket = this.#surroundings.connect({
      received: (frame) => {
        if (epoch === this.#epoch) this.#receive(frame);
      },
      closed: (code, reason) => {
        if (epoch === this.#epoch) this.#closed(code, reason);
      },
    });
  }

  #receive(frame: string): void {
    if (this.#state.kind === "open") this.#setTimer(quietMs, () => this.#ping(pongTimeoutMs));
    const message = parseServerMessage(frame);
    if (message === undefined) return;
    if (message.type === "hello") {
      this.#attempt = 0;
      this.#notBeforeMs = 0;
      this.#setTimer(quietMs, () => this.#ping(pongTimeoutMs));
      const limit = message.limits["max_messages_per_second"] ?? Infinity;
      this.#outbox = new Outbox(this.#surroundings, limit, (next) => this.#socket?.send(JSON.stringify(next)));
      this.#become({ kind: "open" });
    }
    if (message.type === "notice") this.#notBeforeMs = this.#surroundings.nowMs() + message.reconnect_after_ms;
    this.#events.received(message);
  }

  #ping(patienceMs: number): void {
    this.#setTimer(patienceMs, () => this.#lost());
    this.send({ type: "ping", t: Math.round(this.#surroundings.nowMs()) });
  }

  #closed(code: number, reason: string): void {
    if (mayRetry(code)) return this.#lost(reason, code);
    this.#abandonSocket();
    this.#become({ kind: "refused", code, reason });
  }

  #lost(reason = "", code?: number): void {
    this.#abandonSocket();
    // A server that is about to go stays for who is reading, and ends as soon as nobody is.
    const isAwaited = this.#isBusy() && !goingCloseCodes.includes(code);
    const askedForMs = isAwaited ? 0 : Math.max(0, this.#notBeforeMs - this.#surroundings.nowMs());
    // All clients were told the same: they must not come at the same moment.
    const delayMs = askedForMs + retryDelayMs(this.#attempt, this.#surroundings.random());
    this.#attempt += 1;
    this.#setTimer(delayMs, () => this.#connect());
    this.#become({ kind: "waiting", attempt: this.#attempt, delayMs, reason });
  }

  #abandonSocket(): void {
    this.#epoch += 1;
    this.#cancelTimer();
    this.#outbox?.close();
    this.#outbox = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }

  #setTimer(delayMs: number, run: () => void): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#surroundings.after(delayMs, run);
  }

  #become(state: ConnectionState): void {
    this.#state = state;
    this.#events.changed(state);
  }
}
