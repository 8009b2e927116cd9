import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { ServerContext } from "./context.ts";
import { createApp } from "./app.ts";
import { createMetricsApp } from "./metrics-route.ts";
import { Responder } from "./openai/responses/responder.ts";
import { cutStalledResponses } from "./stalled-responses.ts";
import { WebSockets } from "./websocket.ts";

const keepAliveTimeout = 5_000;
const connectionsCheckingInterval = 1_000;

/** Connections beside the WebSockets that are let in, so that who is refused can still be told why. */
const spareConnections = 1_000;

/** Where to listen. */
export interface Addresses {
  readonly host: string;
  readonly port: number;
  readonly metricsPort?: number | undefined;
  /** Descriptors of sockets that listen already: the first stands in for `host` and `port`, a second has the metrics as well. */
  readonly inherited: readonly number[];
}

/** The port where HTTP and WebSocket clients are served, and the one for metrics if that is another. */
export class Listener {
  readonly http: Server;
  readonly #sockets: WebSockets;
  readonly #metrics: Server[] = [];
  readonly #createMetricsServer: () => Server;

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
    // Headers have a size. Those beyond a number would be left out, without a word.
    this.http.maxHeadersCount = 0;
    this.#sockets = new WebSockets(this.http, context, responder);
    const stallMs = context.limits.stallSeconds * 1_000;
    cutStalledResponses(this.http, stallMs);
    this.#createMetricsServer = () => {
      const server = createServer(timeouts, createMetricsApp(context));
      cutStalledResponses(server, stallMs);
      return server;
    };
  }

  /** @returns the ports that were taken. @throws {Error} of the operating system, such as EADDRINUSE */
  async listen({ host, port, metricsPort, inherited }: Addresses): Promise<{ port: number; metricsPort: number | undefined }> {
    const [clients, scrapers] = inherited;
    const metrics = metricsPort === undefined ? undefined : await this.#listenForMetrics({ host, port: metricsPort });
    if (scrapers !== undefined) await this.#listenForMetrics({ fd: scrapers });
    return { port: await listenOn(this.http, clients === undefined ? { host, port } : { fd: clients }), metricsPort: metrics };
  }

  async #listenForMetrics(options: ListenOptions): Promise<number> {
    const server = this.#createMetricsServer();
    this.#metrics.push(server);
    return listenOn(server, options);
  }

  notifyDraining(reconnectAfterMs: number): void {
    this.#sockets.notifyDraining(reconnectAfterMs);
  }

  /** What waits in all WebSockets to be sent. */
  get bufferedBytes(): number {
    return this.#sockets.bufferedBytes;
  }

  /** @param patienceMs how long responses under way may take to be read */
  async close(patienceMs: number): Promise<void> {
    this.#sockets.close();
    for (const server of this.#metrics) {
      server.close();
      server.closeAllConnections();
    }
    const closed = new Promise((resolve) => this.http.close(resolve));
    const timers = [
      setInterval(() => {
        this.http.closeIdleConnections();
      }, idleCheckMs),
      setTimeout(() => {
        this.#sockets.terminate();
      }, closeGraceMs),
      setTimeout(
        () => {
          this.http.closeAllConnections();
        },
        Math.max(patienceMs, closeGraceMs),
      ),
    ];
    this.http.closeIdleConnections();
    await closed;
    for (const timer of timers) clearTimeout(timer);
  }

  /** Lets a `close` that is under way be patient no longer. */
  hurry(): void {
    setTimeout(() => {
      this.http.closeAllConnections();
    }, closeGraceMs).unref();
  }
}

/** How an inherited socket is named too, which @types/node leaves to `net.Server`. */
type ListenOptions = { readonly host: string; readonly port: number } | { readonly fd: number };

async function listenOn(server: Server, options: ListenOptions): Promise<number> {
  server.listen(options);
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** A connection whose response has ended is closed as soon as that is seen. */
const idleCheckMs = 100;

/** What is still open then is cut. */
const closeGraceMs = 2_000;
