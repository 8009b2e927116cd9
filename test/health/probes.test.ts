import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { test } from "node:test";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { runnersOf, ServerProcess, until } from "../support/processes.ts";
import { modelsFolder } from "../support/service.ts";

const probes = ["live", "ready", "startup"] as const;

async function statuses(url: string): Promise<Record<string, number>> {
  const entries = probes.map(async (probe) => [probe, (await fetch(`${url}/health/${probe}`)).status] as const);
  return Object.fromEntries(await Promise.all(entries));
}

test("before, while and after the model is loaded, and when its runner has died", async (context) => {
  const folder = await modelsFolder({ llama: await tinyModel("llama") });
  context.after(() => rm(folder, { recursive: true }));
  await using server = await ServerProcess.start(["--models-dir", folder]);
  // A runner that is held still at its start keeps the server in the state between.
  await until(() => runnersOf(server.pid).length === 1);
  const [runner] = runnersOf(server.pid);
  assert.ok(runner !== undefined);
  process.kill(runner, "SIGSTOP");
  assert.deepEqual(await statuses(server.url), { live: 200, ready: 503, startup: 503 });
  const loading = (await (await fetch(`${server.url}/health/ready`)).json()) as Record<string, unknown>;
  assert.equal(loading["model"], "llama");
  assert.match(String(loading["status"]), /^(starting|loading|warming)$/);

  process.kill(runner, "SIGCONT");
  await until(async () => (await statuses(server.url))["ready"] === 200);
  assert.deepEqual(await statuses(server.url), { live: 200, ready: 200, startup: 200 });
  assert.deepEqual(await (await fetch(`${server.url}/health/ready`)).json(), { status: "ok", model: "llama", backend: "cpu" });

  const [serving] = runnersOf(server.pid);
  assert.ok(serving !== undefined);
  process.kill(serving, "SIGKILL");
  await until(async () => (await statuses(server.url))["ready"] === 503);
  const dead = await statuses(server.url);
  assert.deepEqual([dead["live"], dead["startup"]], [200, 200]);
  await until(async () => (await statuses(server.url))["ready"] === 200);
});
