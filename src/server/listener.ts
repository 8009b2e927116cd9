import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { ServerContext } from "./context.ts";
import { createApp } from "./app.ts";
import { Responder } from "./openai/responses/responder.ts";
import { WebSockets } from "./websocket.ts";

const keepAliveTimeout = 5_000;
const connectionsCheckingInterval = 1_000;

/** Connections beside the WebSockets that are let in, so that who is refused can still be told why. */
const spareConnections = 1_000;

/** The one port where HTTP and WebSocket clients are served. */
export class Listener {
  readonly http: Server;
  readonly #sockets: WebSockets;

  constructor(context: ServerContext) {
    const responder = new Responder(context);
    const { headerSeconds, bodySeconds, maxConnections } = context.limits;
    // Answers under way are not affected by any of these.
    const timeouts = {
      headersTimeout: headerSeconds * 1_000,
      requestTimeout: Math.max(headerSeconds, bodySeconds) * 1_000,
      keepAliveTimeout,
      connectionsCheckingInterval,
    };
    this.http = createServer({ ...timeouts, maxHeaderSize: 16 * 1024 }, createApp(context, responder));
    this.http.maxConnections = maxConnections + spareConnections;
    this.#sockets = new WebSockets(this.http, context, responder);
  }

  /** @returns the port that was taken. @throws {Error} of the operating system, such as EADDRINUSE */
  async listen(host: string, port: number): Promise<number> {
    this.http.listen(port, host);
    await once(this.http, "listening");
    return (this.http.address() as AddressInfo).port;
  }

  notifyDraining(reconnectAfterMs: number): void {
    this.#sockets.notifyDraining(reconnectAfterMs);
  }

  async close(): Promise<void> {
    this.#sockets.close();
    const closed = new Promise((resolve) => this.http.close(resolve));
    this.http.closeIdleConnections();
    const deadline = setTimeout(() => {
      this.http.closeAllConnections();
      this.#sockets.terminate();
    }, closeGraceMs);
    await closed;
    clearTimeout(deadline);
  }
}

/** What is still open then is cut. */
const closeGraceMs = 2_000;
