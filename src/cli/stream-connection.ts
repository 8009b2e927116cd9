import { once } from "node:events";
import { WebSocket } from "ws";
import {
  serverMessage,
  subprotocol,
  type ClientMessageInput,
  type ServerMessage,
  type ServerMessageOf,
} from "../protocol/stream.ts";
import { CommandError } from "./exit-codes.ts";
import { unreachable, type ServerAccess } from "./server-access.ts";

/** The connection went away; what was asked for may go on at the server. */
export class ConnectionLost extends Error {}

/** One WebSocket to the server, and what it says, in order. */
export class StreamConnection implements Disposable {
  readonly #socket: WebSocket;
  #inbox: ServerMessage[] = [];
  #wake: () => void = () => undefined;
  #isClosed = false;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data: Buffer) => {
      const message = parse(data.toString("utf8"));
      if (message !== undefined) this.#inbox.push(message);
      this.#wake();
    });
    socket.on("close", () => {
      this.#isClosed = true;
      this.#wake();
    });
    // The close event follows.
    socket.on("error", () => undefined);
  }

  /** @throws {CommandError} `unreachable`, `denied` */
  static async open({ url, headers }: ServerAccess): Promise<StreamConnection> {
    const address = new URL("v1/stream", url);
    address.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address, subprotocol, { headers });
    const connection = new StreamConnection(socket);
    try {
      const refused = new Promise<never>((_, reject) => {
        socket.on("unexpected-response", (_request, { statusCode = 0 }) => {
          const reason = statusCode === 401 || statusCode === 403 ? "denied" : "failed";
          reject(new CommandError(reason, `The server at ${url.href} refuses the connection (status ${statusCode}).`));
        });
      });
      await Promise.race([once(socket, "open"), refused]);
    } catch (thrown) {
      socket.terminate();
      throw thrown instanceof CommandError ? thrown : unreachable(url, thrown);
    }
    return connection;
  }

  send(message: ClientMessageInput): void {
    this.#socket.send(JSON.stringify(message));
  }

  /** @throws {ConnectionLost} */
  async next(): Promise<ServerMessage> {
    for (;;) {
      const message = this.#inbox.shift();
      if (message !== undefined) return message;
      if (this.#isClosed) throw new ConnectionLost("The connection to the server was lost.");
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** The first message of a connection. */
  async hello(): Promise<ServerMessageOf<"hello">> {
    for (;;) {
      const message = await this.next();
      if (message.type === "hello") return message;
    }
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}

/** What is not known is ignored, as the protocol asks of clients. */
function parse(frame: string): ServerMessage | undefined {
  try {
    return serverMessage.safeParse(JSON.parse(frame)).data;
  } catch {
    return undefined;
  }
}
