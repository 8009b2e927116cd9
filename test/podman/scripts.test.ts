import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { until } from "../support/processes.ts";
import { greedy, StreamClient } from "../support/stream-client.ts";
import { asUser, image, podman, skip } from "./podman.ts";

const name = "llamapod-test-scripts";
const url = "http://127.0.0.1:18090";
const environment = { LLAMAPOD_NAME: name };

const script = (file: string, ...args: readonly string[]) => asUser([`deploy/podman/${file}`, ...args], environment);

const specification = "/etc/cdi/nvidia.yaml";
const library = "/opt/llamapod-test-libcuda.so.1";
const devices = ["/dev/nvidia0", "/dev/nvidiactl"];

/** A GPU that the engine resolves and hands on as it would a real one; nothing computes on it. */
async function describeGpu(libraryPath: string): Promise<void> {
  await mkdir("/etc/cdi", { recursive: true });
  const nodes = devices.map((path) => `{path: ${path}}`).join(", ");
  await writeFile(
    specification,
    `cdiVersion: "0.5.0"
kind: "nvidia.com/gpu"
devices:
- name: all
  containerEdits: {deviceNodes: [${nodes}]}
containerEdits:
  env: ["NVIDIA_VISIBLE_DEVICES=void"]
  mounts: [{hostPath: ${libraryPath}, containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.1, options: [ro, nosuid, nodev, bind]}]
`,
    { mode: 0o644 },
  );
}

describe("the scripts", { skip }, () => {
  after(() => script("uninstall.sh", "--delete-data"));

  test("start, tell the state, switch, restart, and leave nothing but the data", async () => {
    const started = await script("start-podman.sh", "--port", "18090", "--gpu", "off", "--model", "llamapod-demo");
    assert.equal(started.code, 0, started.stderr);
    assert.match(started.stderr, /llamapod answers at http:\/\/127\.0\.0\.1:18090\/ \(podman, cpu\)/);

    const status = await script("status.sh", "--port", "18090");
    assert.equal(status.code, 0, status.stderr);
    assert.match(status.stdout, /running, exit code 0/);
    assert.match(status.stdout, /"model":"llamapod-demo"/);

    const switched = await script("switch-model.sh", "llamapod-demo-sv", "--port", "18090");
    assert.equal(switched.code, 0, switched.stderr);
    assert.match(await (await fetch(`${url}/health/ready`)).text(), /"model":"llamapod-demo-sv"/);
    const unknown = await script("switch-model.sh", "no-such-model", "--port", "18090");
    assert.equal(unknown.code, 4);
    assert.match(unknown.stderr, /not switched: .*no-such-model/);

    const restarted = await script("complete-restart.sh");
    assert.equal(restarted.code, 0, restarted.stderr);
    assert.match(await (await fetch(`${url}/health/ready`)).text(), /"model":"llamapod-demo-sv"/);
    using client = await StreamClient.connect(url);
    assert.ok((await client.generate(greedy("after", 8))).text.length > 0);

    assert.equal((await script("uninstall.sh")).code, 0);
    assert.match(await podman("volume", "ls", "--quiet"), new RegExp(`^${name}-data$`, "m"));
    assert.equal((await script("status.sh", "--port", "18090")).code, 4);
  });

  test("publish for other machines, and start one that has stopped with another model, or as it was where that fails", async () => {
    const made = `keys=$(mktemp) && podman run --rm --network=none ${image} key alice > "$keys" 2> /dev/null && echo "$keys"`;
    const keys = (await asUser(["bash", "-c", made])).stdout.trim();
    const start = [
      "deploy/podman/start.sh",
      "--port",
      "18090",
      "--gpu",
      "off",
      "--bind",
      "0.0.0.0",
      "--allowed-hosts",
      "chat.example",
    ];
    const started = await asUser(start, { ...environment, LLAMAPOD_API_KEYS_FILE: keys });
    assert.equal(started.code, 0, started.stderr);
    assert.match(await podman("port", name), /0\.0\.0\.0:18090/);
    const active = async () => /"model":"([^"]*)"/.exec(await (await fetch(`${url}/health/ready`)).text())?.[1];
    for (const [model, code] of [
      ["llamapod-demo-sv", 0],
      ["no-such-model", 4],
    ] as const) {
      await podman("stop", "--time", "45", name);
      const switched = await script("switch-model.sh", model, "--port", "18090");
      assert.equal(switched.code, code, switched.stderr);
      assert.equal(await active(), "llamapod-demo-sv");
      const variables = await podman("inspect", "--format", "{{.Config.Env}}", name);
      assert.match(variables, /LLAMAPOD_ALLOWED_HOSTS=chat\.example\b/);
      assert.match(variables, /LLAMAPOD_ALLOW_UNAUTHENTICATED=false/);
    }
    assert.equal((await asUser(["rm", keys])).code, 0);
  });

  test("a server that cannot start is not waited for, and its reason is shown", async () => {
    const { code, stderr } = await script(
      "start.sh",
      "--engine",
      "podman",
      "--port",
      "18090",
      "--model",
      "no-such-model",
      "--gpu",
      "off",
    );
    assert.equal(code, 4);
    assert.match(stderr, /no-such-model[^]*exit code 2/);
  });

  test("say what is wrong, and the fix, for an image that is not there", async () => {
    const { code, stderr } = await script("start.sh", "--image", "localhost/no-such-image:1", "--port", "18090", "--gpu", "off");
    assert.equal(code, 125);
    assert.match(stderr, /image\.sh build/);
  });

  test("fall back to Docker where Podman is broken, and say so", async () => {
    const homedir = (await asUser(["bash", "-c", "echo $HOME"])).stdout.trim();
    const stubs = `${homedir}/tmp/stubs`;
    const make = `mkdir -p ${stubs} && printf '#!/bin/sh\\necho broken on purpose >&2\\nexit 125\\n' > ${stubs}/podman &&
      printf '#!/bin/sh\\nexit 0\\n' > ${stubs}/docker && chmod +x ${stubs}/*`;
    assert.equal((await asUser(["bash", "-c", make])).code, 0);
    const path = { ...environment, PATH: `${stubs}:${process.env["PATH"] ?? ""}` };
    const { code, stdout, stderr } = await asUser(["deploy/podman/start.sh", "--dry-run", "--gpu", "off"], path);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /podman does not work: broken on purpose/);
    assert.match(stderr, /Falling back to Docker/);
    assert.match(stdout, /^docker run /m);
    const forced = await asUser(["deploy/podman/start.sh", "--engine", "podman", "--dry-run"], path);
    assert.equal(forced.code, 3);
  });
});

describe(
  "a GPU by its CDI name",
  { skip: skip === false && existsSync("/dev/nvidiactl") ? "this machine has a real one" : skip },
  () => {
    before(async () => {
      await writeFile(library, "");
      for (const [minor, path] of devices.entries()) {
        assert.equal(spawnSync("mknod", ["-m", "666", path, "c", "1", minor === 0 ? "3" : "5"]).status, 0);
      }
    });
    after(async () => {
      await Promise.all([specification, library, ...devices].map((path) => rm(path, { force: true })));
      await script("uninstall.sh", "--delete-data");
    });

    test("is handed on; that nothing computes on this one is told", async () => {
      await describeGpu(library);
      const { code, stderr } = await script(
        "start.sh",
        "--engine",
        "podman",
        "--port",
        "18090",
        "--image",
        "localhost/llamapod:cpu",
      );
      assert.equal(code, 0, stderr);
      assert.match(stderr, /The GPU is not used: the container sees \/dev\/nvidia0/);
      const { stdout } = await asUser(["podman", "exec", name, "bash", "-c", "tr '\\0' '\\n' < /proc/1/environ"]);
      assert.match(stdout, /^NVIDIA_VISIBLE_DEVICES=void$/m);
    });

    test("a specification that names files which are gone: said, with the fix", async () => {
      await describeGpu("/opt/no-such/libcuda.so.535");
      const { code, stderr } = await script("start.sh", "--engine", "podman", "--port", "18090", "--gpu", "required");
      assert.notEqual(code, 0);
      assert.match(stderr, /names \/opt\/no-such\/libcuda\.so\.535, which is gone/);
      const onCpu = await script("start.sh", "--engine", "podman", "--port", "18090", "--image", "localhost/llamapod:cpu");
      assert.equal(onCpu.code, 0, onCpu.stderr);
      assert.match(onCpu.stderr, /Starting without the GPU/);
      const doctor = await script("doctor.sh", "--json");
      assert.match(doctor.stdout, /"id":"cdi-stale","finding":"gone","level":"fail"/);
    });

    test("no specification: said, with the fix", async () => {
      await rm(specification);
      const { code, stderr } = await script("start.sh", "--engine", "podman", "--port", "18090", "--gpu", "required");
      assert.notEqual(code, 0);
      assert.match(stderr, /nvidia-ctk cdi generate/);
    });
  },
);

describe("podman-compose", { skip }, () => {
  const compose = (...args: readonly string[]) =>
    asUser(["podman-compose", "-f", "deploy/podman/podman-compose.yml", ...args], {
      ...environment,
      LLAMAPOD_BIND: "127.0.0.1:18091",
    });

  after(async () => {
    await compose("down");
    await script("uninstall.sh", "--delete-data");
  });

  test("brings it up, hardened, and takes it down", { timeout: 120_000 }, async () => {
    assert.equal((await compose("up", "-d")).code, 0);
    await until(async () => (await fetch("http://127.0.0.1:18091/health/ready").catch(() => undefined))?.ok === true);
    assert.equal(await podman("inspect", "--format", "{{.HostConfig.ReadonlyRootfs}}", name), "true");
    assert.equal((await compose("down")).code, 0);
    assert.doesNotMatch(await podman("ps", "--format", "{{.Names}}"), new RegExp(`^${name}$`, "m"));
  });
});
