import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { test } from "node:test";
import { modelObjects } from "../../src/protocol/operator.ts";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { cannotLimit, limited } from "../support/control-group.ts";
import { Operator } from "../support/operator.ts";
import { residentBytes, runnersOf, ServerProcess } from "../support/processes.ts";
import { modelsFolder } from "../support/service.ts";

test(
  "a server in a control group refuses what its limit has no room for, with what is missing",
  { skip: cannotLimit },
  async (context) => {
    const folder = await modelsFolder({ gpt2: await tinyModel("gpt2"), llama: await tinyModel("llama") });
    context.after(() => rm(folder, { recursive: true }));
    await using server = await ServerProcess.start(["--models-dir", folder, "--model", "gpt2", "--memory-reserve", "0"]);
    const operator = new Operator(server.url);
    const { needed } = await operator.plan("llama");
    assert.deepEqual(await fitting(server.url), { gpt2: true, llama: true });
    using group = limited(server.pid, residentBytes(server.pid) + needed.ram_bytes / 2);
    assert.ok(group);
    const plan = await operator.plan("llama");
    assert.equal(plan.outcome, "short");
    assert.ok((plan.missing?.ram_bytes ?? 0) > 0);
    assert.deepEqual(await fitting(server.url), { gpt2: true, llama: false });
    const before = runnersOf(server.pid);
    const operation = await operator.run("switch", "llama");
    assert.deepEqual([operation.state, operation.error?.code], ["failed", "insufficient_memory"]);
    assert.match(operation.error?.message ?? "", /short by \d+ MiB of main memory/);
    assert.deepEqual(runnersOf(server.pid), before, "it is not tried");
  },
);

/** Of the models that the tests have made. */
async function fitting(url: string): Promise<Record<string, boolean | null>> {
  const { models } = modelObjects.parse(await (await fetch(`${url}/api/models`)).json());
  return Object.fromEntries(models.filter(({ built_in }) => !built_in).map(({ id, fits }) => [id, fits]));
}
