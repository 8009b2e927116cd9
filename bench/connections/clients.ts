import { once } from "node:events";
import { get } from "node:http";
import { connect } from "node:net";
import { WebSocket } from "ws";

/** Clients that are connected and ask for nothing. */

const atOnce = 100;

export interface IdleClient {
  readonly isOpen: boolean;
  close(): void;
}

/** One connection; it resolves as soon as the server has said something on it. */
export type Connect = (port: number) => Promise<IdleClient>;

export const webSocket: Connect = async (port) => {
  const socket = await openWebSocket(`http://127.0.0.1:${port}`);
  return {
    get isOpen() {
      return socket.readyState === socket.OPEN;
    },
    close: () => {
      socket.terminate();
    },
  };
};

/** An HTTP connection that is kept alive after its first request, as clients hold it for the next one. */
export const keptAlive: Connect = async (port) => {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => socket.destroy());
  socket.write(`GET /health HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: keep-alive\r\n\r\n`);
  await Promise.race([once(socket, "data"), once(socket, "close")]);
  socket.on("data", () => undefined);
  return {
    get isOpen() {
      return !socket.destroyed && !socket.readableEnded;
    },
    close: () => {
      socket.destroy();
    },
  };
};

/** As many as are there when the time is over; a hundred are under way at once. */
export async function openAll(connectOne: Connect, port: number, count: number, limitMs: number): Promise<IdleClient[]> {
  const opened: IdleClient[] = [];
  const deadline = performance.now() + limitMs;
  let begun = 0;
  const opener = async (): Promise<void> => {
    while (begun++ < count && performance.now() < deadline) opened.push(await connectOne(port));
  };
  const openers = Promise.all(Array.from({ length: atOnce }, opener));
  const timeout = new Promise<void>((resolve) => setTimeout(resolve, limitMs).unref());
  await Promise.race([openers, timeout]);
  return opened;
}

export async function openWebSocket(url: string): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/v1/stream`, "llamapod.v1", { perMessageDeflate: false });
  await once(socket, "open");
  return socket;
}

/** Milliseconds that a request on a connection of its own takes, up to its last byte; Infinity where it is given up. */
export function askHealth(port: number, path: string, limitMs: number): Promise<number> {
  const sentAt = performance.now();
  return new Promise((resolve) => {
    const request = get({ port, host: "127.0.0.1", path, agent: false, timeout: limitMs }, (response) => {
      response.resume().on("end", () => {
        resolve(performance.now() - sentAt);
      });
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => {
      resolve(Infinity);
    });
  });
}
