import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer, type RawData, type WebSocket } from "ws";
import type { ConnectionMeasurement } from "../health/metrics/connection-metrics.ts";
import type { Caller } from "../protocol/access.ts";
import { describeError, LlamapodError, toLlamapodError } from "../protocol/errors.ts";
import { closeCodes, subprotocol } from "../protocol/stream.ts";
import { logMistake } from "../stream/mistakes.ts";
import { Session, type SessionContext, type SocketSession } from "../stream/session.ts";
import type { ServerContext } from "./context.ts";
import { requestIdHeader, type Correlation } from "./correlation.ts";
import { guard } from "./guard.ts";
import { keepAlive } from "./heartbeat.ts";
import type { Responder } from "./openai/responses/responder.ts";
import { ResponsesSession } from "./openai/responses/session.ts";
import { asksForWebSocket, passOverUpgrade } from "./passed-over-upgrade.ts";
import { errorEnvelope } from "./problem.ts";
import { SocketTransport } from "./socket-transport.ts";

/** The WebSockets that are served, by path. */
const paths = { stream: "/v1/stream", responses: "/v1/responses" } as const;

type Path = (typeof paths)[keyof typeof paths];

/** Pieces in which the network may deliver a message: more is an attack on memory. */
const fewestBufferedChunks = 4_096;

/** Bytes of a piece, on average, in the largest of messages. */
const fewestChunkBytes = 256;

/** How long a client may take to answer a close frame before it is cut. The types of ws do not know it. */
const closing = { closeTimeout: 2_000 };

/** What a client is told that finds all connections taken. */
const retryAfterFullMs = 5_000;

/** What `ws` says of a connection that ended without a close frame. */
const brokenConnection = 1006;

interface Admission {
  readonly correlation: Correlation;
  readonly path: Path;
  readonly caller: Caller;
}

/** What is served over WebSockets beside the HTTP routes: `llamapod.v1`, and OpenAI's mode of the Responses API. */
export class WebSockets {
  readonly #context: ServerContext;
  readonly #sockets: WebSocketServer;
  readonly #responder: Responder;
  readonly #sessions = new Map<WebSocket, SocketSession>();
  /** Connections of each caller. */
  readonly #connections = new Map<string, number>();
  /** Known when the server is about to go. */
  #reconnectAfterMs: number | undefined;

  constructor(server: Server, context: ServerContext, responder: Responder) {
    this.#context = context;
    this.#responder = responder;
    this.#sockets = new WebSocketServer({
      noServer: true,
      maxPayload: context.limits.maxMessageBytes,
      maxFragments: context.limits.maxFragments,
      maxBufferedChunks: Math.max(fewestBufferedChunks, Math.ceil(context.limits.maxMessageBytes / fewestChunkBytes)),
      ...closing,
      perMessageDeflate: false,
      // A ticket is never echoed.
      handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false),
    });
    this.#sockets.on("headers", (headers, request) => {
      const { requestId, span } = context.correlations.of(request);
      headers.push(`${requestIdHeader}: ${requestId}`);
      if (span.traceparent !== undefined) headers.push(`traceparent: ${span.traceparent}`);
    });
    context.metrics.connections.observe(() => this.#measure());
    server.on("upgrade", (request, socket, head) => {
      if (asksForWebSocket(request)) this.#upgrade(request, socket, head);
      else passOverUpgrade(server, request, socket, head);
    });
  }

  /** Tells every client, and those that still come, that the server is about to go. */
  notifyDraining(reconnectAfterMs: number): void {
    this.#reconnectAfterMs = reconnectAfterMs;
    for (const session of this.#sessions.values()) session.notifyDraining(reconnectAfterMs);
  }

  /** What waits in all of them to be sent. */
  get bufferedBytes(): number {
    return this.#measure().bufferedBytes;
  }

  close(): void {
    for (const socket of this.#sessions.keys()) socket.close(closeCodes.goingAway, "the server is shutting down");
    this.#sockets.close();
  }

  /** Cuts what is still open: a client that does not answer would hold its connection for long. */
  terminate(): void {
    for (const socket of this.#sessions.keys()) socket.terminate();
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const onError = () => socket.destroy();
    socket.on("error", onError);
    let admission: Admission;
    const correlation = this.#context.correlations.begin(request);
    try {
      admission = { correlation, ...this.#admit(request) };
    } catch (thrown) {
      const error = toLlamapodError(thrown);
      const { metrics, log } = this.#context;
      metrics.refused(error.code);
      logMistake(log, error, { request_id: correlation.requestId });
      metrics.connections.handshakeRejected(error.code);
      correlation.span.fail(error.code);
      correlation.span.end();
      refuse(socket, error, correlation.requestId);
      return;
    }
    socket.off("error", onError);
    this.#sockets.handleUpgrade(request, socket, head, (client) => {
      this.#open(client, admission);
    });
  }

  /** @throws {LlamapodError} */
  #admit(request: IncomingMessage): Omit<Admission, "correlation"> {
    guard(request, this.#context);
    const requested = request.url?.split("?")[0];
    const path = Object.values(paths).find((served) => served === requested);
    if (path === undefined) {
      throw new LlamapodError("not_found", `There is no WebSocket at ${requested ?? ""}; it is at ${paths.stream}.`);
    }
    const { auth } = this.#context;
    auth.authenticateUpgrade(request);
    const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
    if (path === paths.stream && !offered.includes(subprotocol)) {
      throw new LlamapodError(
        "unsupported_version",
        `Ask for the WebSocket subprotocol ${subprotocol}; no other version is served.`,
      );
    }
    const caller = auth.callerOf(request);
    this.#checkRoom(caller);
    return { path, caller };
  }

  #checkRoom({ id }: Caller): void {
    const { maxConnections, maxConnectionsPerClient } = this.#context.limits;
    const own = (this.#connections.get(id) ?? 0) >= maxConnectionsPerClient;
    if (!own && this.#sessions.size < maxConnections) return;
    const message = own
      ? `You have ${maxConnectionsPerClient} connections open, which is the limit. One can carry any number of answers.`
      : `The server has ${maxConnections} connections open, which is the limit.`;
    throw new LlamapodError(own ? "connection_share_exceeded" : "too_many_connections", message, {
      retryAfterMs: retryAfterFullMs,
    });
  }

  #measure(): ConnectionMeasurement {
    const buffered = [...this.#sessions.keys()].map(({ bufferedAmount }) => bufferedAmount);
    return {
      open: buffered.length,
      bufferedBytes: buffered.reduce((sum, bytes) => sum + bytes, 0),
      mostBufferedBytes: buffered.reduce((most, bytes) => Math.max(most, bytes), 0),
    };
  }

  #countConnection({ id }: Caller, change: 1 | -1): void {
    const count = (this.#connections.get(id) ?? 0) + change;
    if (count === 0) this.#connections.delete(id);
    else this.#connections.set(id, count);
  }

  #open(socket: WebSocket, { path, caller, correlation }: Admission): void {
    const { metrics, log, limits } = this.#context;
    const transport = new SocketTransport(socket, limits);
    const session =
      path === paths.stream
        ? new Session(transport, caller, this.#sessionContext(correlation))
        : new ResponsesSession(transport, caller, {
            responder: this.#responder,
            limits,
            metrics: metrics.connections,
            log,
            correlation,
          });
    // What is asked for over the connection is its child, and may come hours later.
    correlation.span.rename(`GET ${path}`);
    correlation.span.end();
    this.#countConnection(caller, 1);
    transport.onDrain = () => {
      session.drained();
    };
    this.#sessions.set(socket, session);
    if (this.#reconnectAfterMs !== undefined) session.notifyDraining(this.#reconnectAfterMs);
    const stopHeartbeat = keepAlive(socket, limits.heartbeatSeconds, () => {
      if (session.idleMs > limits.idleSeconds * 1_000) transport.close(closeCodes.idle, "nothing was said for too long");
    });
    socket.on("message", (data, isBinary) => {
      if (!transport.listens) return;
      if (isBinary) transport.close(closeCodes.unsupportedData, "frames must be text");
      else session.receive(messageText(data));
    });
    socket.on("error", (error) => {
      log.debug({ err: error }, "connection failed");
    });
    socket.on("close", (code) => {
      stopHeartbeat();
      metrics.connections.closed(transport.closedWith ?? code);
      this.#countConnection(caller, -1);
      this.#sessions.delete(socket);
      session.closed(code === brokenConnection && transport.closedWith === undefined);
    });
  }

  #sessionContext(correlation: Correlation): SessionContext {
    const { generations, pool, version, limits, metrics, log } = this.#context;
    return {
      log,
      metrics,
      correlation,
      generations,
      pool,
      server: `llamapod/${version}`,
      limits,
      switchTo: async (model) => {
        const { error } = await pool.switchTo(await pool.resolve(model)).ended;
        if (error !== undefined) throw error;
      },
    };
  }
}

function messageText(data: RawData): string {
  if (Array.isArray(data)) return Buffer.concat(data).toString("utf8");
  return (Buffer.isBuffer(data) ? data : Buffer.from(data)).toString("utf8");
}

/** Answers an upgrade that is not granted with an HTTP error. */
function refuse(socket: Duplex, error: LlamapodError, requestId: string): void {
  const { status } = describeError(error.code);
  const body = JSON.stringify(errorEnvelope(error));
  const head = [
    `HTTP/1.1 ${status} ${error.code}`,
    "Connection: close",
    `${requestIdHeader}: ${requestId}`,
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(status === 401 ? ["WWW-Authenticate: Bearer"] : []),
    ...(error.retryAfterMs === undefined ? [] : [`Retry-After: ${Math.ceil(error.retryAfterMs / 1_000)}`]),
    ...(status === 426 ? ["Upgrade: websocket", `Sec-WebSocket-Protocol: ${subprotocol}`] : []),
  ];
  // Ended alone, it would stay open for as long as the client likes.
  socket.once("finish", () => socket.destroy());
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}
