import assert from "node:assert/strict";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { afterEach, beforeEach, describe, test } from "node:test";
import { engineAnswers, FakeHost, instead, type Answers } from "./fake-host.ts";
import { FakeServer, ready } from "./fake-server.ts";

const gpu = "kind: nvidia.com/gpu\ndevices: [{name: all, containerEdits: {deviceNodes: [{path: /dev/nvidia0}]}}]\n";
const unresolvable = "Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all";

describe("start.sh", () => {
  let host: FakeHost;

  beforeEach(async () => {
    host = await FakeHost.create();
    await podman();
  });
  afterEach(() => host[Symbol.asyncDispose]());

  const podman = (answers: Answers = {}) => host.answers("podman", instead(engineAnswers("llamapod"), answers));
  const docker = (answers: Answers = {}) => host.answers("docker", instead(engineAnswers("llamapod"), answers));
  const start = (...args: readonly string[]) => host.run("start.sh", args);

  test("a container that ends at once: its log and its exit code in words, and nothing is waited for", async () => {
    await podman({ "run *": 'echo exited 0 > "$root/container-llamapod"; echo 3 > "$root/exit-code"' });
    const { code, stderr } = await start("--port", "1");
    assert.equal(code, 4);
    assert.match(stderr, /the end of the log/);
    assert.match(stderr, /could not start as it was told to.*exit code 3/);
  });

  test("a container that something starts again and again has ended too, and is stopped", async () => {
    await podman({ "run *": 'echo running 1 > "$root/container-llamapod"; echo 137 > "$root/exit-code"' });
    const { code, stderr } = await start("--port", "1");
    assert.equal(code, 4);
    assert.match(stderr, /killed \(exit code 137\)/);
    assert.match(await host.calls("podman"), /^stop --time 45 llamapod$/m);
  });

  test("a server that takes the connection and says nothing is not waited for longer than said", async () => {
    await using server = await FakeServer.hanging();
    const { code, stderr } = await host.run("start.sh", ["--port", server.port, "--wait", "1"], { LLAMAPOD_HTTP_SECONDS: "1" });
    assert.equal(code, 4);
    assert.match(stderr, /runs under podman, but does not answer/);
  });

  test("limits processes, and starts again after a crash, once it has started at all", async () => {
    await using server = await FakeServer.answering(ready);
    const { code, stderr } = await start("--port", server.port);
    assert.equal(code, 0, stderr);
    const calls = await host.calls("podman");
    assert.match(calls, /^run .*--pids-limit 512/m);
    assert.doesNotMatch(calls, /^run .*--restart/m);
    assert.match(calls, /^update --restart unless-stopped llamapod$/m);
  });

  test("lets the old container's answers end before it goes", async () => {
    await host.file("container-llamapod", "running 0\n");
    await using server = await FakeServer.answering(ready);
    assert.equal((await start("--port", server.port)).code, 0);
    assert.match(await host.calls("podman"), /^stop --time 45 llamapod\n(?:.*\n)*rm --force llamapod\n(?:.*\n)*run /m);
  });

  test("stops nothing when it cannot go on", async () => {
    await host.file("container-llamapod", "running 0\n");
    await podman({ "image inspect *": "exit 1", "pull *": "echo 'Error: initializing source' >&2; exit 125" });
    for (const args of [["--gpu", "maybe"], ["--port", "http"], ["--model", "a b"], []]) {
      assert.notEqual((await start(...args)).code, 0, args.join(" "));
    }
    assert.doesNotMatch(await host.calls("podman"), /^(?:stop|rm|run) /m);
  });

  test("--dry-run prints the command that makes the secret too", async () => {
    const keys = await host.file("keys", "alice 0 chat\n");
    const { code, stdout } = await host.run("start.sh", ["--dry-run"], { LLAMAPOD_API_KEYS_FILE: keys });
    assert.equal(code, 0);
    assert.match(stdout, /^podman secret create llamapod-keys .*keys/m);
    assert.match(stdout, /^podman run .*--secret llamapod-keys/m);
    assert.doesNotMatch(await host.calls("podman"), /^(?:run|secret)/m);
  });

  describe("for other machines", () => {
    const open = ["--bind", "0.0.0.0", "--allowed-hosts", "chat.example.org", "--port"];

    test("only with keys, under the names that are said, and again so after a complete restart", async () => {
      await using server = await FakeServer.answering(ready);
      const refused = await start(...open, server.port);
      assert.equal(refused.code, 2);
      assert.match(refused.stderr, /needs LLAMAPOD_API_KEYS_FILE/);
      const keys = { LLAMAPOD_API_KEYS_FILE: await host.file("keys", "alice 0 chat\n") };
      const { code, stderr } = await host.run("start.sh", [...open, server.port], keys);
      assert.equal(code, 0, stderr);
      const calls = await host.calls("podman");
      assert.match(
        calls,
        new RegExp(`^run .*--publish 0\\.0\\.0\\.0:${server.port}:8080 .*LLAMAPOD_ALLOWED_HOSTS=chat\\.example\\.org`, "m"),
      );
      await host.file("label-start", `${/--label llamapod\.start=(.*?) --userns/.exec(calls)?.[1] ?? ""}\n`);
      const { stdout } = await host.run("complete-restart.sh", ["--dry-run"], keys);
      assert.match(stdout, /--publish 0\.0\.0\.0:.*LLAMAPOD_ALLOWED_HOSTS=chat\.example\.org/);
    });

    test("where no name is said, that they are refused", async () => {
      await using server = await FakeServer.answering(ready);
      const keys = { LLAMAPOD_API_KEYS_FILE: await host.file("keys", "alice 0 chat\n") };
      const { stderr } = await host.run("start.sh", ["--bind", "0.0.0.0", "--port", server.port], keys);
      assert.match(stderr, /refused until --allowed-hosts/);
    });

    test("an address or names that are none", async () => {
      for (const [flag, value] of [
        ["--bind", "0.0.0.0:80"],
        ["--bind", "here"],
        ["--allowed-hosts", "a b"],
      ] as const)
        assert.equal((await start(flag, value)).code, 2, value);
      assert.equal((await host.run("start.sh", [], { LLAMAPOD_BIND: "8080" })).code, 2);
    });
  });

  test("what has no flag is as the variables of the files for compose say, by compose or without", async () => {
    await host.answers("podman-compose", { "--version": "echo podman-compose version 1.3.0" });
    const variables = {
      LLAMAPOD_BIND: "127.0.0.2:9000",
      LLAMAPOD_GPU: "off",
      LLAMAPOD_IMAGE: "localhost/mine:1",
      LLAMAPOD_MODEL: "tiny",
    };
    for (const args of [["--dry-run"], ["--dry-run", "--compose"]]) {
      const { stdout } = await host.run("start.sh", args, variables);
      for (const word of ["127.0.0.2:9000", "LLAMAPOD_GPU=off", "localhost/mine:1", "LLAMAPOD_MODEL=tiny"])
        assert.ok(stdout.includes(word), `${word} in ${stdout}`);
    }
    assert.match((await host.run("start.sh", ["--dry-run", "--port", "9001"], variables)).stdout, /127\.0\.0\.2:9001:/);
  });

  test("the files for compose read every variable that their page names", async () => {
    const names = (await readdir("deploy/podman")).filter((name) => name.startsWith("podman-compose."));
    const files = await Promise.all(names.map((name) => readFile(`deploy/podman/${name}`, "utf8")));
    const read = new Set(files.join("").match(/(?<=\$\{|- )LLAMAPOD_\w+/g));
    const named = (await readFile("docs/podman/compose.md", "utf8")).match(/LLAMAPOD_\w+/g) ?? [];
    assert.deepEqual(
      [...new Set(named)].filter((name) => !read.has(name)),
      [],
    );
  });

  describe("Docker instead of Podman", () => {
    test("where podman cannot start a container, and it is told", async () => {
      await using server = await FakeServer.answering(ready);
      await podman({ "run *": "echo 'Error: netavark: nftables error' >&2; exit 126" });
      await docker();
      const { code, stderr } = await start("--port", server.port);
      assert.equal(code, 0, stderr);
      assert.match(stderr, /nftables error[^]*Podman cannot start it\. Falling back to Docker[^]*answers at .* \(docker, cpu\)/);
    });

    test("not where it would fail in the same way, and not where Podman was asked for", async () => {
      await docker();
      await podman({ "run *": "echo 'Error: Address already in use' >&2; exit 126" });
      assert.match((await start()).stderr, /The port is taken/);
      await podman({ "run *": "exit 125" });
      assert.equal((await start("--engine", "podman")).code, 125);
      assert.doesNotMatch(await host.calls("docker"), /^run/m);
    });

    test("says of a port that Docker finds taken what it is, whatever the exit code", async () => {
      await docker({ "run *": "echo 'Bind for 127.0.0.1:8080 failed: port is already allocated' >&2; exit 125" });
      const { code, stderr } = await start("--engine", "docker");
      assert.equal(code, 125);
      assert.match(stderr, /The port is taken/);
    });

    test("has images of its own: how one is built for it is told", async () => {
      await docker({ "image inspect *": "exit 1", "pull *": "echo 'pull access denied' >&2; exit 1" });
      assert.match((await start("--engine", "docker")).stderr, /image\.sh build --engine docker/);
    });

    test("gets keys as a file that it can only read, and refuses one that the server could not read", async () => {
      await docker();
      const keys = await host.file("keys", "alice 0 chat\n", 0o600);
      const run = (args: readonly string[]) =>
        host.run("start.sh", ["--engine", "docker", ...args], { LLAMAPOD_API_KEYS_FILE: keys });
      const refused = await run([]);
      assert.equal(refused.code, 2);
      assert.match(refused.stderr, /chmod 644/);
      await host.file("keys", "alice 0 chat\n", 0o644);
      const { stdout } = await run(["--dry-run"]);
      assert.match(stdout, /--volume [^ ]*keys:\/etc\/llamapod\/api-keys:ro .*LLAMAPOD_ALLOW_UNAUTHENTICATED=false/);
    });
  });

  describe("a GPU", () => {
    const device = /--device nvidia\.com\/gpu=all/;

    test("that the engine cannot hand on: without it by default, and said so", async () => {
      await host.file("etc/cdi/nvidia.yaml", gpu);
      await host.file("dev/nvidia0", "");
      await podman({ "run *--device nvidia*": `echo '${unresolvable}' >&2; exit 126` });
      await using server = await FakeServer.answering(ready);
      const { code, stderr } = await start("--port", server.port);
      assert.equal(code, 0, stderr);
      assert.match(stderr, /nvidia-ctk cdi generate[^]*Starting without the GPU/);
      assert.equal((await start("--port", server.port, "--gpu", "required")).code, 126);
    });

    test("whose description is stale: the file that is gone is named, in YAML and JSON, for libraries and hooks", async () => {
      const gone = "/usr/lib/libcuda.so.535";
      for (const [file, text] of [
        ["a.yaml", `kind: nvidia.com/gpu\nmounts: [{hostPath: ${gone}}]\n`],
        ["a.yaml", `kind: nvidia.com/gpu\nmounts: [{hostPath: '${gone}', containerPath: /x}]\n`],
        ["a.yaml", `kind: nvidia.com/gpu\nhooks:\n- hookName: createContainer\n  path: ${gone}\n`],
        [
          "a.json",
          JSON.stringify({ kind: "nvidia.com/gpu", containerEdits: { mounts: [{ hostPath: gone, containerPath: "/x" }] } }),
        ],
      ] as const) {
        await host.file(`etc/cdi/${file}`, text);
        await podman({ "run *": "echo 'crun: cannot stat' >&2; exit 127" });
        const { stderr } = await start("--gpu", "required");
        assert.match(stderr, /names \/usr\/lib\/libcuda\.so\.535, which is gone/, text);
        await host.without(`etc/cdi/${file}`);
      }
    });

    test("whose description is stale is told by compose too, and not where the container was to get none", async () => {
      await host.file("etc/cdi/nvidia.yaml", "kind: nvidia.com/gpu\nmounts: [{hostPath: /usr/lib/libcuda.so.535}]\n");
      const fails = "echo 'crun: cannot stat' >&2; exit 127";
      await host.answers("podman-compose", { "--version": "echo podman-compose version 1.3.0", "*up -d*": fails });
      assert.match((await start("--compose", "--gpu", "required")).stderr, /libcuda\.so\.535, which is gone/);
      await podman({ "run *": fails });
      assert.doesNotMatch((await start("--gpu", "off")).stderr, /which is gone/);
    });

    test("under Docker: by its CDI name where Docker knows such, else by --gpus", async () => {
      await host.file("etc/cdi/nvidia.yaml", gpu);
      const arguments_ = async () => (await start("--engine", "docker", "--dry-run")).stdout;
      await docker({ "info --format {{json .CDISpecDirs}}": `echo '["/etc/cdi"]'` });
      assert.match(await arguments_(), device);
      await docker({ "info --format {{json .Runtimes}}": `echo '{"nvidia":{}}'` });
      assert.match(await arguments_(), /--gpus all/);
      await docker();
      assert.doesNotMatch(await arguments_(), /nvidia|--gpus/);
    });

    test("that the container does not see is told from one that nothing computes on", async () => {
      await host.file("etc/cdi/nvidia.yaml", gpu);
      await using server = await FakeServer.answering(ready);
      await podman({ "exec *": "echo no /dev/nvidia0" });
      assert.match((await start("--port", server.port)).stderr, /sees no \/dev\/nvidia0.*\n.*engine lost it/);
      await podman({ "exec *": "echo /dev/nvidia0" });
      assert.match((await start("--port", server.port)).stderr, /sees \/dev\/nvidia0.*\n.*--target cuda/);
    });
  });

  describe("--compose", () => {
    const compose = (...args: readonly string[]) => start("--compose", "--dry-run", ...args);
    const podmanCompose = (version: string) =>
      host.answers("podman-compose", { "--version": `echo podman-compose version ${version}` });
    const plugin = (version: string, answers: Answers = {}) => docker({ ...answers, "compose version*": `echo ${version}` });

    beforeEach(async () => {
      await host.file("etc/cdi/nvidia.yaml", gpu);
    });

    test("by podman-compose 1.3, with the file that it understands", async () => {
      await podmanCompose("1.3.0");
      const { stdout, stderr } = await compose("--model", "tiny");
      assert.match(
        stdout,
        /timeout 600 env .*LLAMAPOD_MODEL=tiny .*podman-compose -p llamapod -f \S*podman-compose\.yml -f \S*gpu\.yml up -d/,
      );
      assert.equal(stderr, "");
      assert.doesNotMatch((await compose("--gpu", "off")).stdout, /gpu\.yml/);
    });

    test("an older podman-compose is refused, with the fix", async () => {
      await host.answers("podman-compose", {
        "--version": "echo 'using podman version: 4.3.1'; echo podman-composer version  1.0.3",
      });
      const { code, stderr } = await compose();
      assert.equal(code, 3);
      assert.match(stderr, /1\.0\.3 is too old[^]*pipx install 'podman-compose>=1\.3'/);
    });

    test("by docker compose over Podman's socket, with the file for its version", async () => {
      await plugin("2.40.3");
      assert.match(
        (await compose()).stdout,
        /DOCKER_HOST=unix:\S*podman\.sock docker compose -p llamapod .*podman-compose\.gpu\.yml/,
      );
      await plugin("2.26.1");
      assert.match((await compose()).stdout, /gpu-cdi\.yml/);
      const { code, stderr } = await start("--compose");
      assert.equal(code, 3);
      assert.match(stderr, /systemctl --user enable --now podman\.socket/);
    });

    test("by Docker, with the file for NVIDIA's runtime where there is no CDI", async () => {
      await plugin("2.40.3", { "info --format {{json .Runtimes}}": `echo '{"nvidia":{}}'` });
      assert.match((await compose("--engine", "docker")).stdout, /[^ST]\bdocker compose .*gpu-nvidia\.yml/);
    });

    test("keys are one more file", async () => {
      await podmanCompose("1.6.0");
      const keys = await host.file("keys", "alice 0 chat\n");
      const { stdout } = await host.run("start.sh", ["--compose", "--dry-run"], { LLAMAPOD_API_KEYS_FILE: keys });
      assert.match(stdout, /LLAMAPOD_API_KEYS_FILE=\S*keys .*podman-compose\.keys\.yml/);
    });
  });
});

test("Docker leaves the same files out of the image as Podman", async () => {
  assert.ok((await lstat(".dockerignore")).isSymbolicLink());
  assert.equal(await readlink(".dockerignore"), ".containerignore");
});
