import type { Socket, SocketEvents } from "./connection.ts";
import type { StreamSurroundings } from "./stream-client.ts";
import { subprotocol } from "./wire.ts";

/** What the client uses of a WebSocket: the browser's, that of Node.js 22, or of the package `ws`. */
export interface WebSocketLike {
  readonly readyState: number;
  send(data: string): void;
  close(): void;
  addEventListener(type: "open" | "error", listener: () => void): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { readonly code: number; readonly reason: string }) => void): void;
}

export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

export interface ServerAccess {
  /** Where the server is, such as `http://localhost:8080/`. */
  readonly url: string | URL;
  /** Asked before each connection; without a key the server is used anonymously. */
  readonly apiKey: () => string | undefined;
  readonly WebSocket: WebSocketConstructor;
}

const openState = 1;

/** Close codes for what the server refuses before there is a connection, where trying again changes nothing. */
const refusals: Readonly<Record<number, number>> = { 401: 4401, 403: 4403, 421: 4403 };

/** What plain HTTP is answered there by a server that has nothing against who asks. */
const upgradeRequired = 426;
const notTaken =
  "The server is there, but has not taken the connection: it may have as many as it can, or what stands before it lets no WebSocket through.";

/** A server, reached with what browsers and Node.js have in common. */
export function webSurroundings(access: ServerAccess): StreamSurroundings {
  return {
    connect: (events) => new WebConnection(access, events),
    nowMs: () => performance.now(),
    after(delayMs, run) {
      const timer = setTimeout(run, delayMs);
      return () => {
        clearTimeout(timer);
      };
    },
    random: () => Math.random(),
    reader: randomId(),
    warn: (message) => {
      console.warn(message);
    },
    // In browsers only secure contexts have it, localhost among them.
    ...("subtle" in crypto && { digest: sha256 }),
  };
}

/** 128 random bits in base64url. */
export function randomId(): string {
  return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

/** One attempt: a ticket where there is a key, then the WebSocket, and the reason if the server would have neither. */
class WebConnection implements Socket {
  readonly #access: ServerAccess;
  readonly #events: SocketEvents;
  readonly #given = new AbortController();
  #socket: WebSocketLike | undefined;

  constructor(access: ServerAccess, events: SocketEvents) {
    this.#access = access;
    this.#events = events;
    this.#open().catch(() => {
      events.closed(1006, "");
    });
  }

  /** A frame for a socket that is closing is lost like one on the wire; the connection repeats what matters. */
  send(frame: string): void {
    if (this.#socket?.readyState === openState) this.#socket.send(frame);
  }

  close(): void {
    this.#given.abort();
    this.#socket?.close();
  }

  async #open(): Promise<void> {
    const key = this.#access.apiKey();
    const protocols: string[] = [subprotocol];
    if (key !== undefined) {
      const response = await this.#fetch("v1/stream/tickets", { method: "POST" }, key);
      if (!response.ok) return this.#refused(response);
      protocols.push(ticketIn(await response.json()));
    }
    if (this.#given.signal.aborted) return;
    const url = new URL("v1/stream", this.#access.url);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.search = "";
    url.hash = "";
    const socket = new this.#access.WebSocket(url.href, protocols);
    this.#socket = socket;
    let hasOpened = false;
    socket.addEventListener("open", () => (hasOpened = true));
    // The close event follows and tells more.
    socket.addEventListener("error", () => undefined);
    socket.addEventListener("message", ({ data }) => {
      if (typeof data === "string") this.#events.received(data);
    });
    socket.addEventListener("close", ({ code, reason }) => {
      if (hasOpened || this.#given.signal.aborted) this.#events.closed(code, reason);
      else this.#explain().catch(() => this.#events.closed(code, reason));
    });
  }

  /** A WebSocket that is refused says nothing more than that; plain HTTP under the same address has the reason. */
  async #explain(): Promise<void> {
    await this.#refused(await this.#fetch("v1/stream", {}, this.#access.apiKey()));
  }

  async #refused(response: Response): Promise<void> {
    const reason = response.status === upgradeRequired ? notTaken : messageIn(await response.json().catch(() => undefined));
    this.#events.closed(refusals[response.status] ?? 1006, reason);
  }

  #fetch(path: string, init: RequestInit, key: string | undefined): Promise<Response> {
    const headers = key === undefined ? {} : { Authorization: `Bearer ${key}` };
    return fetch(new URL(path, this.#access.url), { ...init, headers, signal: this.#given.signal });
  }
}

function ticketIn(body: unknown): string {
  if (typeof body === "object" && body !== null && "protocol" in body && typeof body.protocol === "string") return body.protocol;
  throw new TypeError("the server's answer holds no ticket");
}

function messageIn(body: unknown): string {
  if (typeof body !== "object" || body === null || !("error" in body)) return "";
  const { error } = body;
  const hasMessage = typeof error === "object" && error !== null && "message" in error && typeof error.message === "string";
  return hasMessage ? String(error.message) : "";
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
