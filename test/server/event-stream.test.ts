import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import express from "express";
import { EventStream } from "../../src/server/openai/event-stream.ts";

test("a reader that is slow again and again leaves nothing behind", async () => {
  const app = express();
  const listeners = new Set<number>();
  app.get("/", async (_, response) => {
    const stream = new EventStream(response, 60);
    stream.open();
    for (let count = 0; count < 30; count++) {
      await stream.write("x".repeat(200_000));
      listeners.add(["close", "error", "drain"].reduce((sum, name) => sum + response.listenerCount(name), 0));
    }
    stream.stopPings();
    stream.end();
  });
  const server = createServer(app).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const asked = request({ port, host: "127.0.0.1", agent: false }).end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  let read = 0;
  for await (const chunk of response) read += (chunk as Buffer).length;
  assert.ok(read > 30 * 200_000);
  assert.equal(listeners.size, 1, `listeners after each write: ${[...listeners].join(", ")}`);
  server.close();
});
