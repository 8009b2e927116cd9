import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { exitCodes } from "../../src/cli/exit-codes.ts";
import { ChaosProxy } from "../support/chaos-proxy.ts";
import { sample, scrape } from "../support/metrics.ts";
import { runCommand } from "../support/processes.ts";
import { keysFile, startService, type RunningService, type TestKeys } from "../support/service.ts";
import { StreamClient } from "../support/stream-client.ts";

const question = ["run", "llama", "Hello", "--temperature", "0", "--max-tokens", "300"];

describe("run over a bad network", { timeout: 60_000 }, () => {
  let service: RunningService;

  before(async () => {
    service = await startService(["llama"]);
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  test("prints the whole answer once, however often the connection is cut in the middle of it", async () => {
    const undisturbed = await runCommand(question, { LLAMAPOD_URL: service.url });
    assert.notEqual(undisturbed.stdout.trim(), "");
    await using proxy = await ChaosProxy.start(
      service.url,
      { from: "server", afterBytes: 6_000, how: "reset" },
      { from: "server", afterBytes: 3_000, how: "end" },
      { from: "server", afterBytes: 1_500, how: "reset" },
    );
    const { code, stdout, stderr } = await runCommand(question, { LLAMAPOD_URL: proxy.url });
    assert.deepEqual([code, stderr], [0, ""]);
    assert.equal(stdout, undisturbed.stdout);
    const resumes = sample(await scrape(service.url), "llamapod_stream_resumes_total", { outcome: "ok" });
    assert.ok(resumes >= 1, "it was in the middle");
  });
});

describe("run on a server with keys", { timeout: 60_000 }, () => {
  let service: RunningService;
  let keys: TestKeys;

  before(async () => {
    keys = await keysFile({ alice: "chat" });
    service = await startService(["llama"], { apiKeysFile: keys.file, maxConnections: 1 });
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  const run = (key: string) =>
    runCommand([...question, ...(key === "" ? [] : ["--api-key", key])], { LLAMAPOD_URL: service.url });

  test("takes a key that the server knows, and is exit code 5 without one", async () => {
    const known = await run(keys.secrets["alice"] ?? "");
    assert.equal(known.code, 0, known.stderr);
    for (const key of ["", "llp-unknown"]) {
      const { code, stdout, stderr } = await run(key);
      assert.deepEqual([code, stdout], [exitCodes.denied.code, ""]);
      assert.match(stderr, /API key/);
    }
  });

  test("says why a server takes nobody more", async () => {
    const headers = { Authorization: `Bearer ${keys.secrets["alice"] ?? ""}` };
    using only = await StreamClient.connect(service.url, { headers });
    const { code, stderr } = await run(keys.secrets["alice"] ?? "");
    assert.equal(code, exitCodes.failed.code);
    assert.match(stderr, /as many as it can/);
    only.send({ type: "ping" });
    await only.take("pong");
  });
});
