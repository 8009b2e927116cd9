import assert from "node:assert/strict";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { test } from "node:test";
import { ServerProcess } from "../support/processes.ts";

/** As long as a request may have it; it is in the line of the request. */
const longPath = "x".repeat(15_000);

test("a server whose log nobody reads goes on answering, and tells how much was left out once somebody does", async () => {
  await using server = await ServerProcess.start(["--log-level", "debug"]);
  server.output.pause();
  await askForNothing(server, 400);
  assert.match(await textWith(server.output, "lines were left out"), /nobody read the log on standard output: \d+ lines/);
});

test("a log that nobody reads does not keep the server from ending", async () => {
  await using server = await ServerProcess.start(["--log-level", "debug"]);
  server.output.pause();
  await askForNothing(server, 20);
  server.kill("SIGTERM");
  assert.deepEqual(await server.exited, { code: 0, signal: null });
});

/** Twenty are more than a pipe holds, four hundred more than the server keeps. */
async function askForNothing(server: ServerProcess, times: number): Promise<void> {
  for (let asked = 0; asked < times; asked += 20) {
    const answers = await Promise.all(Array.from({ length: 20 }, () => fetch(`${server.url}/v1/${longPath}`)));
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([404]));
    await Promise.all(answers.map((answer) => answer.text()));
  }
}

async function textWith(output: Readable, wanted: string): Promise<string> {
  let text = "";
  output.on("data", (chunk: Buffer) => {
    text = (text + chunk.toString()).slice(-100_000);
  });
  output.resume();
  while (!text.includes(wanted)) await once(output, "data");
  return text;
}
