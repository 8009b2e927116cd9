import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { ServerContext } from "./context.ts";
import { createApp } from "./app.ts";
import { createMetricsApp } from "./metrics-route.ts";
import { Responder } from "./openai/responses/responder.ts";
import { WebSockets } from "./websocket.ts";

const keepAliveTimeout = 5_000;
const connectionsCheckingInterval = 1_000;

/** Connections beside the WebSockets that are let in, so that who is refused can still be told why. */
const spareConnections = 1_000;

/** The port where HTTP and WebSocket clients are served, and the one for metrics if that is another. */
export class Listener {
  readonly http: Server;
  readonly #sockets: WebSockets;
  readonly #metrics: Server | undefined;

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
    this.#metrics = context.metricsPort === undefined ? undefined : createServer(timeouts, createMetricsApp(context));
  }

  /** @returns the ports that were taken. @throws {Error} of the operating system, such as EADDRINUSE */
  async listen(host: string, port: number, metricsPort = 0): Promise<{ port: number; metricsPort: number | undefined }> {
    const metrics = this.#metrics === undefined ? undefined : await listenOn(this.#metrics, host, metricsPort);
    return { port: await listenOn(this.http, host, port), metricsPort: metrics };
  }

  notifyDraining(reconnectAfterMs: number): void {
    this.#sockets.notifyDraining(reconnectAfterMs);
  }

  async close(): Promise<void> {
    this.#sockets.close();
    this.#metrics?.close();
    this.#metrics?.closeAllConnections();
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

async function listenOn(server: Server, host: string, port: number): Promise<number> {
  server.listen(port, host);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** What is still open then is cut. */
const closeGraceMs = 2_000;
