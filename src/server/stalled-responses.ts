import type { Server } from "node:http";

/** Cuts connections on which a response waits to be read and nothing of it is, for so long. One that is still being made has time. */
export function cutStalledResponses(server: Server, stallMs: number): void {
  server.on("request", (_request, response) => {
    // Told when nothing has moved on the connection; that it is told at all keeps Node.js from ending it by itself.
    response.setTimeout(stallMs, () => {
      if ((response.socket?.writableLength ?? 0) > 0) response.destroy();
    });
  });
}
