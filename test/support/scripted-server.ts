import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";
import { clientMessage, subprotocol, type ClientMessage, type ServerMessage } from "../../src/protocol/stream.ts";

type TypeOf = ClientMessage["type"];

/** A server of one connection, which says what the test tells it to: what no real one says when it is wanted. */
export class ScriptedServer implements AsyncDisposable {
  readonly #server: WebSocketServer;
  readonly #received: ClientMessage[] = [];
  #socket: WebSocket | undefined;
  #wake: () => void = () => undefined;

  private constructor(server: WebSocketServer) {
    this.#server = server;
    server.on("connection", (socket) => {
      this.#socket = socket;
      socket.on("message", (data: Buffer) => {
        this.#received.push(clientMessage.parse(JSON.parse(data.toString("utf8"))));
        this.#wake();
      });
      const models = ["one", "two"].map((id) => ({ id, state: "available" as const, active: false, size_bytes: 1 }));
      const about = { protocol: subprotocol, server: "scripted", active_model: null, limits: {}, heartbeat_s: 20 } as const;
      this.say({ type: "hello", models, ...about });
    });
  }

  static async start(): Promise<ScriptedServer> {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0, handleProtocols: () => subprotocol });
    await once(server, "listening");
    return new ScriptedServer(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  say(message: ServerMessage): void {
    assert.ok(this.#socket !== undefined, "nobody has connected");
    this.#socket.send(JSON.stringify(message));
  }

  /** The next message of this type; others before it are passed over. */
  async take<Type extends TypeOf>(type: Type): Promise<Extract<ClientMessage, { type: Type }>> {
    for (;;) {
      const message = this.#received.shift();
      if (message === undefined) await new Promise<void>((resolve) => (this.#wake = resolve));
      else if (message.type === type) return message as Extract<ClientMessage, { type: Type }>;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket?.terminate();
    this.#server.close();
    await once(this.#server, "close");
  }
}
