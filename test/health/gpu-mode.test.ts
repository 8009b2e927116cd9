import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { runCommand } from "../support/processes.ts";
import { modelsFolder, startService } from "../support/service.ts";

describe("the GPU modes, on a machine without one", () => {
  let folder: string;

  before(async () => {
    folder = await modelsFolder({ llama: await tinyModel("llama") });
  });
  after(() => rm(folder, { recursive: true }));

  test("required: the start fails, and the log says why", async () => {
    const { code, stdout } = await runCommand(["serve", "--port", "0", "--models-dir", folder, "--gpu", "required"]);
    assert.equal(code, 3);
    assert.match(stdout, /has to have a GPU and cannot start: .*llama\.cpp found none that works/);
  });

  test("what computes is told by the readiness probe and by the metrics", async () => {
    await using service = await startService(["llama"], { gpu: "auto" });
    const ready = (await (await fetch(`${service.url}/health/ready`)).json()) as Record<string, unknown>;
    assert.equal(ready["backend"], "cpu");
    const metrics = await (await fetch(`${service.url}/metrics`)).text();
    assert.match(metrics, /^llamapod_model_info\{model="llama",backend="cpu"\} 1$/m);
  });
});
