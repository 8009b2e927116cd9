import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { isGpuExpected } from "../../src/models/gpu.ts";
import { gpuModes } from "../../src/protocol/runner.ts";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { sample, scrape } from "../support/metrics.ts";
import { runCommand } from "../support/processes.ts";
import { modelsFolder, silent, startService } from "../support/service.ts";

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

  test("auto, where a device is there and does not compute: probe and metrics tell, and what the alert for that case looks at", async () => {
    const hasGpu = () => true;
    await using service = await startService(["llama"], { gpu: "auto" }, silent, hasGpu);
    const ready = (await (await fetch(`${service.url}/health/ready`)).json()) as Record<string, unknown>;
    assert.equal(ready["backend"], "cpu");
    const metrics = await scrape(service.url);
    assert.equal(sample(metrics, "llamapod_model_info", { model: "llama", backend: "cpu" }), 1);
    assert.equal(sample(metrics, "llamapod_gpu_expected"), 1);
    assert.equal(sample(metrics, "llamapod_gpu_active"), 0);
  });

  test("a GPU is expected where one is demanded, and where one is there and allowed", () => {
    const expected = (hasDevice: boolean) => gpuModes.filter((mode) => isGpuExpected(mode, () => hasDevice));
    assert.deepEqual(expected(true), ["auto", "required"]);
    assert.deepEqual(expected(false), ["required"]);
  });
});
