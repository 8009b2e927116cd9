import assert from "node:assert/strict";
import { stat, symlink } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { engineAnswers, FakeHost, instead, type Answers } from "./fake-host.ts";
import { FakeServer, ready } from "./fake-server.ts";

let host: FakeHost;

beforeEach(async () => {
  host = await FakeHost.create();
  await podman();
});
afterEach(() => host[Symbol.asyncDispose]());

const podman = (answers: Answers = {}) => host.answers("podman", instead(engineAnswers("llamapod"), answers));
const systemctl = (answers: Answers = {}) => host.answers("systemctl", answers, "exit 0");

/** An instance of systemd's, with its settings. */
const instance = (name: string, settings: string) => host.file(`home/.config/llamapod/${name}.env`, settings);

describe("complete-restart.sh", () => {
  test("keeps port, GPU, image, keys and the model that answers now", async () => {
    await using server = await FakeServer.answering(ready);
    const keys = await host.file("keys", "alice 0 chat\n");
    await host.file("container-llamapod", "running 0\n");
    await host.file("port", `127.0.0.1:${server.port}\n`);
    await host.file("label-start", `--engine podman --gpu off --port ${server.port} --model first --image localhost/mine:1\n`);
    await host.file("label-keys", `${keys}\n`);
    const { code, stderr } = await host.run("complete-restart.sh");
    assert.equal(code, 0, stderr);
    const run = /^run .*$/m.exec(await host.calls("podman"))?.[0] ?? "";
    assert.match(
      run,
      new RegExp(`127\\.0\\.0\\.1:${server.port}:8080 .*LLAMAPOD_GPU=off .*LLAMAPOD_MODEL=tiny .*api-keys.* localhost/mine:1$`),
    );
  });

  test("takes what is said anew, and what start.sh has kept is what it reads", async () => {
    await using server = await FakeServer.answering(ready);
    await host.run("start.sh", ["--gpu", "off", "--port", server.port, "--model", "first"]);
    const label = /--label llamapod\.start=(.*?) --userns/.exec(await host.calls("podman"))?.[1] ?? "";
    await host.file("label-start", `${label}\n`);
    const { stdout } = await host.run("complete-restart.sh", ["--model", "second", "--dry-run"]);
    assert.match(stdout, new RegExp(`127\\.0\\.0\\.1:${server.port}:8080 .*LLAMAPOD_GPU=off .*LLAMAPOD_MODEL=second`));
  });

  test("stops nothing when it is called wrongly", async () => {
    await host.file("container-llamapod", "running 0\n");
    for (const args of [["--no-such-flag"], ["--gpu", "maybe"]]) {
      assert.equal((await host.run("complete-restart.sh", args)).code, 2);
    }
    assert.doesNotMatch(await host.calls("podman"), /^stop/m);
  });

  test("says why an instance does not start", async () => {
    await systemctl({ "--user restart *": "exit 1", "--user show *--property Result*": "echo oom-kill" });
    await host.command("journalctl", "echo 'the model cannot be loaded'");
    await instance("main", "LLAMAPOD_BIND=127.0.0.1:8080\n");
    const { code, stderr } = await host.run("complete-restart.sh", ["--instance", "main"]);
    assert.equal(code, 4);
    assert.match(stderr, /want of memory[^]*the model cannot be loaded[^]*did not start/);
    assert.equal((await host.run("complete-restart.sh", ["--instance", "other"])).code, 2);
  });
});

describe("an instance that Podman cannot start", () => {
  for (const [what, code, error, said] of [
    ["for want of a secret", 125, 'Error: no secret with name or id "llamapod-keys"', /A secret is missing/],
    ["for want of its image", 125, "Error: localhost/llamapod:cpu: image not known", /image\.sh build/],
    ["for want of a GPU", 126, "Error: setting up CDI devices: unresolvable CDI devices", /nvidia-ctk cdi generate/],
    ["with a stale GPU", 127, "Error: crun: cannot stat", /names \/usr\/lib\/libcuda\.so\.535, which is gone/],
    ["for another reason", 126, "Error: no luck", /could not be started \(exit code 126\)/],
    ["as it is killed", 137, '{"msg":"ready"}', /was killed \(exit code 137\)/],
  ] as const) {
    test(`${what}: its exit code and message in words, by every script that starts it`, async () => {
      await host.file("etc/cdi/nvidia.yaml", "kind: nvidia.com/gpu\nmounts: [{hostPath: /usr/lib/libcuda.so.535}]\n");
      await systemctl({
        "--user start *": "exit 1",
        "--user restart *": "exit 1",
        "--user show *--property Result*": "echo exit-code",
        "--user show *--property ExecMainStatus*": `echo ${code}`,
        "--user cat llamapod@main": code === 127 ? "echo podman run --device=nvidia.com/gpu=all" : "",
      });
      await host.command("journalctl", `echo '{"msg":"permission denied: address already in use"}'; echo '${error}'`);
      for (const [script, ...args] of [
        ["start-podman.sh", "--quadlet"],
        ["complete-restart.sh", "--instance", "main"],
        ["switch-model.sh", "big", "--instance", "main"],
      ] as const) {
        await instance("main", "LLAMAPOD_BIND=127.0.0.1:1\n");
        const ended = await host.run(script, args);
        assert.equal(ended.code, 4);
        assert.match(ended.stderr, said);
        assert.doesNotMatch(ended.stderr, /port is taken|refused something/);
      }
    });
  }
});

describe("switch-model.sh", () => {
  const operation = "GET /api/operations/op-1";
  const accepted = { "GET /health/live": [200, {}], "POST /api/models/big/switch": [202, { id: "op-1" }] } as const;
  const settings = "LLAMAPOD_BIND=127.0.0.1:PORT\nLLAMAPOD_MODEL=old\nTOKEN=secret\n";

  test("remembers the model for an instance, in a file that keeps its mode", async () => {
    await using server = await FakeServer.answering({ ...accepted, [operation]: [200, { id: "op-1", state: "done" }] });
    await host.file("home/.config/llamapod/main.env", settings.replace("PORT", server.port), 0o600);
    const { code, stderr } = await host.run("switch-model.sh", ["big", "--instance", "main"]);
    assert.equal(code, 0, stderr);
    const path = "home/.config/llamapod/main.env";
    assert.match(await host.read(path), /^TOKEN=secret\nLLAMAPOD_MODEL=big\n$/m);
    assert.equal((await stat(join(host.root, path))).mode & 0o777, 0o600);
  });

  for (const [what, answer] of [
    ["that the server has forgotten", [404, { title: "no such operation" }]],
    ["that the key may not read", [401, { title: "a key is needed" }]],
  ] as const) {
    test(`an operation ${what} is not followed for ever`, async () => {
      await using server = await FakeServer.answering({ ...accepted, [operation]: answer });
      const { code, stderr } = await host.run("switch-model.sh", ["big", "--port", server.port]);
      assert.equal(code, 4);
      assert.match(stderr, new RegExp(answer[1].title));
    });
  }

  test("a server that hangs is told, and not waited for", async () => {
    await using server = await FakeServer.hanging();
    const { code } = await host.run("switch-model.sh", ["big", "--port", server.port], { LLAMAPOD_HTTP_SECONDS: "1" });
    assert.equal(code, 4);
  });

  describe("a container of start.sh that has stopped", () => {
    const switched = (port: string) => host.run("switch-model.sh", ["big", "--port", port, "--wait", "1"]);

    beforeEach(async () => {
      await host.file("container-llamapod", "exited 0\n");
      await host.file("port", "");
    });

    test("is started with the model", async () => {
      await using server = await FakeServer.answering(ready);
      await host.file("label-start", `--engine podman --gpu off --port ${server.port} --model old\n`);
      const { code, stderr } = await switched("1");
      assert.equal(code, 0, stderr);
      assert.match(await host.calls("podman"), /^run .*LLAMAPOD_MODEL=big/m);
    });

    test("is as it was again where that one does not become ready", async () => {
      await host.file("label-start", "--engine podman --gpu off --port 1 --model old\n");
      await podman({ "run *": 'echo exited 0 > "$root/container-llamapod"; echo 3 > "$root/exit-code"' });
      const { code, stderr } = await switched("1");
      assert.equal(code, 4);
      assert.match(stderr, /big did not become ready/);
      const models = [...(await host.calls("podman")).matchAll(/^run .*--env LLAMAPOD_MODEL=(\S+)/gm)].map(([, model]) => model);
      assert.deepEqual(models, ["big", "old"]);
    });

    test("but not one that runs and does not answer there", async () => {
      await host.file("container-llamapod", "running 1\n");
      await host.file("label-start", "--engine podman --gpu off --port 1\n");
      assert.equal((await switched("1")).code, 4);
      assert.doesNotMatch(await host.calls("podman"), /^(?:run|stop|rm) /m);
    });
  });

  test("settings that do not say where the server listens are refused", async () => {
    await instance("main", "LLAMAPOD_GPU=auto\n");
    const { code, stderr } = await host.run("switch-model.sh", ["big", "--instance", "main"]);
    assert.equal(code, 2);
    assert.match(stderr, /LLAMAPOD_BIND=/);
  });

  test("an instance that does not start with the model gets the old one back", async () => {
    await systemctl({ "--user restart *": 'grep -q "MODEL=old" "$root/home/.config/llamapod/main.env"' });
    await host.file("home/.config/llamapod/main.env", settings.replace("PORT", "1"), 0o600);
    const { code, stderr } = await host.run("switch-model.sh", ["big", "--instance", "main"]);
    assert.equal(code, 4);
    assert.match(stderr, /the old settings are back/);
    assert.equal(await host.read("home/.config/llamapod/main.env"), settings.replace("PORT", "1"));
    assert.equal((await host.calls("systemctl")).match(/^--user restart/gm)?.length, 2);
  });
});

describe("status.sh", () => {
  test("shows the instances of systemd's, where they listen, and what was killed for want of memory", async () => {
    await using server = await FakeServer.answering({ ...ready, "GET /metrics": [200, ""] });
    await host.file("container-llamapod-main", "running 0\n");
    await host.file("port", `127.0.0.1:${server.port}\n`);
    await instance("main", "LLAMAPOD_BIND=127.0.0.1:1\n");
    await systemctl({ "--user show *": "printf 'ActiveState=active\\nResult=success\\nNRestarts=2\\n'" });
    await host.answers("podman", {
      ...instead(engineAnswers("llamapod-main"), { "exec *memory.events": "echo 3", "container inspect llamapod": "exit 1" }),
    });
    for (const args of [[], ["--instance", "main"]]) {
      const { code, stdout, stderr } = await host.run("status.sh", args);
      assert.equal(code, 0, stdout + stderr);
      assert.match(stdout, /unit +llamapod@main: ActiveState=active Result=success NRestarts=2/);
      assert.match(stdout, /container +llamapod-main under podman/);
      assert.match(stdout, /memory +3 processes were killed for want of memory/);
      assert.match(stdout, /health +\{"status":"ok"/);
    }
  });

  test("an instance that there is not is no other server that answers", async () => {
    await using server = await FakeServer.answering(ready);
    const { code, stderr } = await host.run("status.sh", ["--instance", "mian", "--port", server.port]);
    assert.equal(code, 2);
    assert.match(stderr, /no instance mian/);
  });

  test("asks where systemd holds the port, and else where the settings say", async () => {
    await using server = await FakeServer.answering({ ...ready, "GET /metrics": [200, ""] });
    await host.answers("podman", instead(engineAnswers("llamapod-main"), { "port *": "" }));
    await host.file("container-llamapod-main", "running 0\n");
    await instance("main", "LLAMAPOD_BIND=127.0.0.1:1\n");
    const listen = `printf '127.0.0.1:${server.port} (Stream)\\n127.0.0.1:9464 (Stream)\\n'`;
    await systemctl({ "--user show llamapod@main.socket --property Listen --value": listen });
    const held = await host.run("status.sh", ["--instance", "main"]);
    assert.equal(held.code, 0, held.stdout);
    await systemctl();
    assert.equal((await host.run("status.sh", ["--instance", "main"])).code, 4);
    await instance("main", `LLAMAPOD_BIND=127.0.0.1:${server.port}\n`);
    assert.equal((await host.run("status.sh", ["--instance", "main"])).code, 0);
  });

  test("an instance whose container is gone: the end of its journal", async () => {
    await instance("main", "LLAMAPOD_BIND=127.0.0.1:1\n");
    await host.command("journalctl", "echo 'the model cannot be loaded'");
    const { code, stdout } = await host.run("status.sh", ["--instance", "main", "--lines", "3"]);
    assert.equal(code, 4);
    assert.match(stdout, /^ {2}the model cannot be loaded$/m);
    assert.match(await host.calls("journalctl"), /--unit llamapod@main --lines 3/);
  });

  test("comes back from a server that hangs", async () => {
    await using server = await FakeServer.hanging();
    const { code, stdout } = await host.run("status.sh", ["--port", server.port], { LLAMAPOD_HTTP_SECONDS: "1" });
    assert.equal(code, 4);
    assert.match(stdout, /nobody answers/);
  });
});

describe("uninstall.sh", () => {
  const units = "home/.config/containers/systemd";

  beforeEach(async () => {
    await systemctl();
    for (const file of ["llamapod@.container", "llamapod.image", "llamapod.pod", "other.container"])
      await host.file(`${units}/${file}`, "");
    await symlink("llamapod@.container", join(host.root, units, "llamapod@other.container"));
    await instance("other", "LLAMAPOD_BIND=127.0.0.1:8081\n");
    await podman({ "* inspect *": "", "volume ls*": "echo llamapod-data; echo llamapod-strange-data" });
  });

  test("removes every unit of ours, instances and monitoring too, and keeps the data", async () => {
    const { code, stderr } = await host.run("uninstall.sh");
    assert.equal(code, 0, stderr);
    const left = ["llamapod@.container", "llamapod@other.container", "llamapod.image", "llamapod.pod", "other.container"];
    assert.deepEqual(
      left.filter((file) => host.has(`${units}/${file}`)),
      ["other.container"],
    );
    const calls = await host.calls("podman");
    for (const name of ["llamapod", "llamapod-other", "llamapod-prometheus", "llamapod-grafana"])
      assert.match(calls, new RegExp(`^rm --force ${name}$`, "m"));
    assert.doesNotMatch(calls, /^volume rm/m);
  });

  test("keeps drop-ins, which are settings: without its keys a server that is installed again would serve everybody", async () => {
    const keys = `${units}/llamapod@main.container.d/20-keys.conf`;
    await host.run("drop-in.sh", ["keys"]);
    await host.run("drop-in.sh", ["shared-models", "other"]);
    assert.equal((await host.run("uninstall.sh")).code, 0);
    assert.ok(host.has(keys) && !host.has(`${units}/llamapod@.container`));
    assert.ok(!host.has(`${units}/llamapod@other.container.d`), "its volume's unit has gone");
    assert.equal((await host.run("uninstall.sh", ["--delete-data"])).code, 0);
    assert.ok(!host.has(keys.replace(/\/[^/]*$/, "")));
  });

  test("takes the pod of podman kube play away, before the volume that it holds", async () => {
    await podman({ "* inspect *": "", "volume rm *": 'grep -q "^pod rm --force llamapod" "$root/calls-podman"' });
    const { code, stderr } = await host.run("uninstall.sh", ["--delete-data"]);
    assert.equal(code, 0, stderr);
  });

  test("stops the sockets, which would start a server again, and takes them out of systemd's sight", async () => {
    const sockets = "home/.config/systemd/user";
    const ours = ["llamapod@.socket", "sockets.target.wants/llamapod@main.socket"];
    for (const file of [...ours, "sockets.target.wants/other.socket"]) await host.file(`${sockets}/${file}`, "");
    const { code, stderr } = await host.run("uninstall.sh");
    assert.equal(code, 0, stderr);
    assert.deepEqual(
      ours.filter((file) => host.has(`${sockets}/${file}`)),
      [],
    );
    assert.ok(host.has(`${sockets}/sockets.target.wants/other.socket`));
    assert.match(await host.calls("systemctl"), /^--user stop llamapod@\* .*\n(?:.*\n)*--user daemon-reload$/m);
  });

  test("deletes the data of what it knows, and of nothing that has a name like it", async () => {
    assert.equal((await host.run("uninstall.sh", ["--delete-data"])).code, 0);
    const removed = [...(await host.calls("podman")).matchAll(/^volume rm (.*)$/gm)].map(([, name]) => name);
    assert.deepEqual(removed.sort(), [
      "llamapod-data",
      "llamapod-grafana",
      "llamapod-other-data",
      "llamapod-prometheus",
      "llamapod-shared-data",
    ]);
    assert.ok(!host.has("home/.config/llamapod"));
  });

  test("goes on when a network is in use, and says so", async () => {
    await podman({ "* inspect *": "", "network rm *": "echo 'network is being used' >&2; exit 2" });
    const { code, stderr } = await host.run("uninstall.sh", ["--delete-data"]);
    assert.equal(code, 1);
    assert.match(stderr, /not done: podman network rm llamapod \(network is being used\)/);
    assert.match(await host.calls("podman"), /^volume rm llamapod-data$/m);
  });

  test("leaves units and settings be when it is about another name", async () => {
    assert.equal((await host.run("uninstall.sh", ["--delete-data"], { LLAMAPOD_NAME: "mine" })).code, 0);
    assert.ok(host.has(`${units}/llamapod@.container`) && host.has("home/.config/llamapod/other.env"));
    assert.doesNotMatch(await host.calls("podman"), /llamapod-/);
  });
});

describe("start-podman.sh --quadlet", () => {
  const units = "home/.config/containers/systemd";
  const quadlet = (...args: readonly string[]) => host.run("start-podman.sh", ["--quadlet", ...args]);

  beforeEach(() => systemctl());

  test("gives a second instance a port of its own, and starts no other with the machine", async () => {
    const first = await quadlet("other");
    assert.equal(first.code, 0, first.stderr);
    assert.match(await host.read("home/.config/llamapod/other.env"), /^LLAMAPOD_BIND=127\.0\.0\.1:8080$/m);
    assert.ok(!host.has("home/.config/llamapod/main.env") && !host.has(`${units}/llamapod@main.container`));
    assert.doesNotMatch(await host.read(`${units}/llamapod@.container`), /^DefaultInstance/m);
    assert.equal((await quadlet()).code, 0);
    assert.match(await host.read("home/.config/llamapod/main.env"), /^LLAMAPOD_BIND=127\.0\.0\.1:8081$/m);
    assert.ok(host.has(`${units}/llamapod@main.container`));
    assert.equal((await quadlet("third", "--port", "9000")).code, 0);
    assert.match(await host.read("home/.config/llamapod/third.env"), /^LLAMAPOD_BIND=127\.0\.0\.1:9000$/m);
  });

  test("refuses the GPU without its image, before it changes anything", async () => {
    await podman({ "image exists *": "exit 1" });
    const { code, stderr } = await quadlet("--gpu", "required");
    assert.equal(code, 3);
    assert.match(stderr, /image\.sh build --target cuda/);
    assert.ok(!host.has(units));
  });

  test("starts one that runs, or tries to, anew when it gets or loses the GPU, and only then", async () => {
    await podman({ "image exists *:cuda": "" });
    const lastAction = async () => [...(await host.calls("systemctl")).matchAll(/^--user (start|restart) /gm)].at(-1)?.[1];
    await quadlet();
    await quadlet();
    assert.equal(await lastAction(), "start");
    await quadlet("--gpu", "required");
    assert.ok(host.has(`${units}/llamapod@main.container.d/10-gpu.conf`));
    assert.equal(await lastAction(), "restart");
    await quadlet("main");
    assert.ok(host.has(`${units}/llamapod@main.container.d/10-gpu.conf`), "what is not said stays");
    await quadlet("--gpu", "off");
    assert.ok(!host.has(`${units}/llamapod@main.container.d/10-gpu.conf`));
    assert.equal(await lastAction(), "restart");
  });

  test("--gpu auto: where the host describes one and has the image; and says so when nothing computes on it", async () => {
    await using server = await FakeServer.answering(ready);
    await podman({ "image exists *:cuda": "", "exec *": "echo no /dev/nvidia0" });
    const gpuDropIn = `${units}/llamapod@main.container.d/10-gpu.conf`;
    const auto = () => quadlet("--port", server.port, "--gpu", "auto");
    assert.match((await auto()).stderr, /The GPU: off/);
    await host.file("etc/cdi/nvidia.yaml", "kind: nvidia.com/gpu\n");
    await systemctl({ "--user cat llamapod@main": `cat "$root/${gpuDropIn}" 2> /dev/null` });
    const { code, stderr } = await auto();
    assert.equal(code, 0, stderr);
    assert.ok(host.has(gpuDropIn));
    assert.match(stderr, /The GPU: required[^]*The GPU is not used: the container sees no \/dev\/nvidia0/);
    await podman({ "image exists *": "exit 1" });
    assert.equal((await auto()).code, 0);
    assert.ok(!host.has(gpuDropIn));
  });

  test("installs where systemd looks, whatever the shell says, and the unit reads the settings there", async () => {
    const elsewhere = { XDG_CONFIG_HOME: join(host.root, "elsewhere") };
    assert.equal((await host.run("start-podman.sh", ["--quadlet"], elsewhere)).code, 0);
    assert.ok(host.has(`${units}/llamapod@.container`) && !host.has("elsewhere"));
    assert.match(await host.read(`${units}/llamapod@.container`), /^EnvironmentFile=%E\/llamapod\/%i\.env$/m);
  });

  test("-h is help, and no instance", async () => {
    const { code, stdout } = await quadlet("-h");
    assert.equal(code, 0);
    assert.match(stdout, /start-podman\.sh --quadlet/);
    assert.deepEqual([await host.calls("systemctl"), (await quadlet("Main")).code], ["", 2]);
  });
});

describe("image.sh verify", () => {
  const verify = () =>
    host.run("image.sh", ["verify", "--from", "registry.example/llamapod:1", "--public-key", join(host.root, "key.pub")]);

  beforeEach(() => host.file("key.pub", ""));

  test("5 is a signature that does not hold, and nothing else", async () => {
    await host.command("skopeo", "echo 'Source image rejected: A signature was required, but no signature exists' >&2; exit 1");
    const unsigned = await verify();
    assert.equal(unsigned.code, 5);
    assert.match(unsigned.stderr, /not signed as it should be/);
    await host.command("skopeo", "echo 'dial tcp: connection refused' >&2; exit 1");
    const unreachable = await verify();
    assert.equal(unreachable.code, 1);
    assert.match(unreachable.stderr, /could not be fetched[^]*connection refused/);
  });

  test("without skopeo, or a key that can be read, says so", async () => {
    const { code, stderr } = await verify();
    assert.equal(code, 3);
    assert.match(stderr, /install skopeo/);
    await host.command("skopeo", "exit 0");
    await host.without("key.pub");
    assert.equal((await verify()).code, 2);
  });
});

describe("drop-in.sh", () => {
  const units = "home/.config/containers/systemd";
  const dropIn = (...args: readonly string[]) => host.run("drop-in.sh", args);

  beforeEach(() => systemctl());

  test("what is for one instance only is refused to others, before anything is changed", async () => {
    for (const [name, why] of [
      ["pod", /one pod, with the port of main/],
      ["socket", /ports of main/],
    ] as const) {
      const { code, stderr } = await dropIn(name, "other");
      assert.equal(code, 2);
      assert.match(stderr, why);
    }
    assert.ok(!host.has(units));
    await host.file("home/.config/systemd/user/llamapod@other.socket.d/ports.conf", "[Socket]\n");
    assert.equal((await dropIn("socket", "other")).code, 0);
    assert.equal((await dropIn("pod", "other", "--remove")).code, 0);
  });

  test("build is refused where Podman knows no such unit, with another way", async () => {
    await podman({ "version*": "echo 5.1.2" });
    const { code, stderr } = await dropIn("build");
    assert.equal(code, 3);
    assert.match(stderr, /5\.1\.2 has no units that build[^]*image\.sh build/);
  });

  test("registry says which other instances get the image too", async () => {
    const first = await dropIn("registry", "--image", "registry.example/llamapod:1");
    assert.doesNotMatch(first.stderr, /too/);
    const { code, stderr } = await dropIn("registry", "other", "--image", "registry.example/llamapod:2");
    assert.equal(code, 0);
    assert.match(stderr, /llamapod@main gets registry\.example\/llamapod:2 too/);
  });
});

test("every script has help, and refuses what it does not know", async () => {
  const scripts = ["complete-restart", "doctor", "image", "setup-host", "start", "start-docker", "start-podman", "status"];
  for (const name of [...scripts, "drop-in", "switch-model", "uninstall"]) {
    const file = `${name}.sh`;
    const help = await host.run(file, ["--help"]);
    assert.equal(help.code, 0, file);
    assert.match(help.stdout, /start\.sh|\.sh/, file);
    assert.equal((await host.run(file, ["--no-such-flag"])).code, 2, file);
  }
  assert.doesNotMatch(await host.calls("podman"), /^(?:run|stop|rm) /m);
});
