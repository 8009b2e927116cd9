import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo, type Server } from "node:net";
import { test } from "node:test";
import { z } from "zod";
import { inheritedSockets } from "../../src/server/inherited-sockets.ts";
import { until, ServerProcess } from "../support/processes.ts";
import { StreamClient } from "../support/stream-client.ts";

/** A socket that listens, as a service manager opens it. Closing it here leaves it to whoever has got it. */
async function openSocket(): Promise<{ server: Server; url: string; descriptor: number }> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { fd } = z.object({ _handle: z.object({ fd: z.number() }) }).parse(server)._handle;
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, descriptor: fd };
}

test("a socket that was opened for the server is where it listens, and a second one is for metrics and probes", async () => {
  const [clients, scrapers] = await Promise.all([openSocket(), openSocket()]);
  const starting = ServerProcess.start(["--metrics-port", "0"], [clients.descriptor, scrapers.descriptor]);
  for (const { server } of [clients, scrapers]) server.close();
  await using server = await starting;
  assert.equal(new URL(server.url).port, new URL(clients.url).port);

  using client = await StreamClient.connect(clients.url);
  client.send({ type: "ping", t: 1 });
  assert.equal((await client.take("pong")).t, 1);
  await until(async () => (await fetch(`${scrapers.url}/health/ready`)).ok);
  assert.match(await (await fetch(`${scrapers.url}/metrics`)).text(), /llamapod_/);
  assert.equal((await fetch(`${clients.url}/metrics`)).status, 404);
});

test("sockets that are meant for another process are left alone", () => {
  assert.deepEqual(inheritedSockets({ LISTEN_PID: "7", LISTEN_FDS: "2" }, 7), [3, 4]);
  assert.deepEqual(inheritedSockets({ LISTEN_PID: "7", LISTEN_FDS: "2" }, 8), []);
  assert.deepEqual(inheritedSockets({ LISTEN_FDS: "1" }, 8), []);
  assert.deepEqual(inheritedSockets({ LISTEN_PID: "8", LISTEN_FDS: "many" }, 8), []);
});
