import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { test } from "node:test";
import { cutStalledResponses } from "../../src/server/stalled-responses.ts";

/** Longer than what reads takes for a piece, on a slow machine too. */
const stallMs = 1_000;

async function listening(): Promise<{ server: Server; url: string } & AsyncDisposable> {
  const server = createServer();
  cutStalledResponses(server, stallMs);
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    server,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await once(server.close(), "close");
    },
  };
}

async function responseOf(server: Server): Promise<ServerResponse> {
  const [, response] = (await once(server, "request")) as [unknown, ServerResponse];
  return response;
}

test("a response that is made for longer than its reader may stall comes whole", async () => {
  await using listener = await listening();
  const answered = fetch(listener.url);
  const response = await responseOf(listener.server);
  await once(response, "timeout");
  response.end("x".repeat(1_000_000));
  assert.equal((await (await answered).text()).length, 1_000_000);
});

test("a response that nobody reads is cut, and its connection with it", { timeout: 30_000 }, async () => {
  await using listener = await listening();
  const socket = connect(Number(new URL(listener.url).port), "127.0.0.1").pause();
  socket.on("error", () => undefined);
  socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const response = await responseOf(listener.server);
  const connection = response.socket ?? assert.fail("it has a connection");
  response.end("x".repeat(50_000_000));
  await once(connection, "close");
  socket.destroy();
});
