import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";

export function asksForWebSocket({ headers }: IncomingMessage): boolean {
  const protocols = (headers.upgrade ?? "").toLowerCase().split(",");
  return protocols.some((protocol) => protocol.trim() === "websocket");
}

/**
 * Serves a request that asks for a protocol which is not served, such as h2c, as if it did not ask (RFC 9110, 7.8). Node.js has let
 * go of the connection by the time it tells of an upgrade, and has not read the body. So the server gets the connection anew,
 * and on it the same request without the question.
 */
export function passOverUpgrade(server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const { method = "", url = "", httpVersion, rawHeaders } = request;
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const [name = "", value = ""] = rawHeaders.slice(index, index + 2);
    if (name.toLowerCase() !== "upgrade") lines.push(`${name}: ${value}`);
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), head]));
  server.emit("connection", socket);
}
