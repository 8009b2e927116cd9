import { once } from "node:events";
import type { Response } from "express";

/** Proxies close a connection on which nothing moves; a comment keeps it open. */
const pingMs = 15_000;

/** How long the first byte waits for the first event, so that an early error can still be an HTTP status. */
export const patienceMs = 10_000;

/** A response as server-sent events. */
export class EventStream {
  isOpen = false;
  readonly #response: Response;
  readonly #stallMs: number;
  #pings: NodeJS.Timeout | undefined;

  /** @param stallSeconds in which a reader has to take something of what waits for it */
  constructor(response: Response, stallSeconds: number) {
    this.#stallMs = stallSeconds * 1_000;
    this.#response = response;
  }

  open(): void {
    if (this.isOpen) return;
    this.isOpen = true;
    this.#response.status(200).set({
      "Content-Type": "text/event-stream; charset=utf-8",
      "Cache-Control": "no-cache, no-transform",
      "X-Accel-Buffering": "no",
    });
    this.#response.flushHeaders();
    this.#pings = setInterval(() => {
      if (!this.#response.writableNeedDrain) this.#response.write(": ping\n\n");
    }, pingMs);
  }

  /** Resolves when the reader has room for more, or is gone; one that reads nothing for too long is cut. */
  async write(data: unknown, fields: { readonly id?: string; readonly event?: string } = {}): Promise<void> {
    const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\n`);
    if (this.#response.write(`${head.join("")}data: ${JSON.stringify(data)}\n\n`) || this.#response.closed) return;
    const stall = setTimeout(() => this.#response.destroy(), this.#stallMs);
    const waiting = new AbortController();
    const { signal } = waiting;
    try {
      await Promise.race([once(this.#response, "drain", { signal }), once(this.#response, "close", { signal })]);
    } finally {
      clearTimeout(stall);
      // Or the one that did not happen would leave its listeners behind.
      waiting.abort();
    }
  }

  end(): void {
    this.#response.end("data: [DONE]\n\n");
  }

  stopPings(): void {
    clearInterval(this.#pings);
  }
}
