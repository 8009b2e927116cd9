import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { LlamapodClient } from "llamapod/client";
import { OpenAI } from "openai";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { CheckedSocket as WebSocket } from "../support/checked-socket.ts";
import { hasRegistry, Registry } from "../support/registry.ts";
import { until } from "../support/processes.ts";
import { Answer, greedy } from "../support/stream-client.ts";
import { asUser, Container, hardening, image, podman, realModels, skip } from "./podman.ts";

const megabyte = 1_000_000;

test("the bases of the image are pinned by tag and digest", async () => {
  const text = await readFile("Containerfile", "utf8");
  const bases = [...text.matchAll(/^ARG \w+_(?:IMAGE|BASE)=(.*)$/gm)].map(([, base]) => base ?? "");
  assert.equal(bases.length, 3);
  for (const base of bases) assert.match(base, /^[a-z.]+\/[a-z/]+:[\w.-]+@sha256:[0-9a-f]{64}$/);
  const others = [...text.matchAll(/^FROM (\S+)/gm)].map(([, from]) => from ?? "");
  const stages = [...text.matchAll(/^FROM \S+ AS (\S+)/gm)].map(([, stage]) => stage ?? "");
  for (const from of others) assert.ok(from.startsWith("${") || stages.includes(from), `${from} is not pinned`);
});

describe("the image", { skip }, () => {
  test("is small, labelled, probed, not root's, and holds no development packages", async (context) => {
    const [inspected] = JSON.parse(await podman("image", "inspect", image)) as [
      { Size: number; User: string; Labels: Record<string, string>; Healthcheck?: { Test: string[] } },
    ];
    context.diagnostic(`${image}: ${Math.round(inspected.Size / megabyte)} MB`);
    assert.ok(inspected.Size < 300 * megabyte);
    assert.equal(inspected.User, "10001:10001");
    assert.match(inspected.Labels["org.opencontainers.image.version"] ?? "", /^\d+\.\d+\.\d+/);
    assert.deepEqual(inspected.Healthcheck?.Test, ["CMD", "/usr/local/bin/healthcheck"]);
    const shell = ["run", "--rm", "--network=none", "--entrypoint", "bash", image, "-c"];
    const listing = await podman(
      ...shell,
      "find /app ! -user 0 -o -perm /022 ! -type l; ls /app/node_modules; ls /app/node_modules/@node-llama-cpp",
    );
    assert.doesNotMatch(listing, /^\/app/m, "only root may write the code");
    assert.doesNotMatch(listing, /^(?:@?typescript.*|@?eslint(?!-community$).*)$|cuda|arm64/m);
    assert.match(listing, /^linux-x64$/m);
    const writable =
      "find / /var/lib/llamapod -xdev -writable ! -type l ! -path '/proc/*' ! -path '/dev/*' ! -path '/sys/*' 2>/dev/null; true";
    const volume = /^(?:\/tmp|\/var\/tmp|\/run\/lock|\/var\/lib\/llamapod(?:\/models)?)$/;
    assert.deepEqual(
      (await podman(...shell, writable)).split("\n").filter((path) => !volume.test(path)),
      [],
    );
  });

  test("chats at once, with nothing said but a port", async () => {
    await using container = await Container.start("llamapod-test-plain", 18_080);
    const ready = await container.ready();
    assert.equal(ready["backend"], "cpu");
    const openai = new OpenAI({ baseURL: `${container.url}/v1`, apiKey: "none" });
    const { choices } = await openai.chat.completions.create({
      model: String(ready["model"]),
      messages: [{ role: "user", content: "Hello!" }],
      max_completion_tokens: 16,
    });
    assert.notEqual(choices[0]?.message.content ?? "", "");
    using client = new LlamapodClient({ url: container.url, WebSocket });
    const { text, usage } = await client.generate({ messages: [{ role: "user", content: "Hello!" }], max_tokens: 16 }).result;
    assert.notEqual(text, "");
    assert.ok(usage.completion_tokens > 0);
    const page = await fetch(`${container.url}/`);
    assert.match(await page.text(), /<html/);
    assert.match((await asUser(["podman", "healthcheck", "run", container.name])).stdout, /^(healthy)?$/m);
  });

  test("without a GPU that it has to have, ends with the reason", async () => {
    const { code, stdout } = await asUser(["podman", "run", "--rm", "--env", "LLAMAPOD_GPU=required", image]);
    assert.equal(code, 3);
    assert.match(stdout, /has to have a GPU and cannot start/);
  });
});

describe("a container without rights", { skip }, () => {
  let container: Container;

  before(async () => {
    await podman("volume", "rm", "--force", "llamapod-test-data");
    container = await Container.start("llamapod-test-hardened", 18_081, [
      ...hardening,
      "--volume=llamapod-test-data:/var/lib/llamapod",
    ]);
    await container.ready();
  });
  after(async () => {
    await container[Symbol.asyncDispose]();
    await podman("volume", "rm", "--force", "llamapod-test-data");
  });

  test("has none of them, and streams", async () => {
    const status = await container.status();
    assert.match(status, /^Name:\tnode$/m, "the server is the first process, and gets the signals");
    assert.match(status, /^Uid:\t10001\t10001/m);
    assert.match(status, /^CapEff:\t0+$/m);
    assert.match(status, /^CapBnd:\t0+$/m);
    assert.match(status, /^NoNewPrivs:\t1$/m);
    assert.match(status, /^Seccomp:\t2$/m);
    assert.match((await container.exec("touch", "/app/x")).stderr, /Read-only file system/);
    const unwanted = await container.exec("bash", "-c", "cp /bin/true /tmp/x && /tmp/x");
    assert.match(unwanted.stderr, /Permission denied/);

    using client = await container.connect();
    const { done, text } = await client.generate(greedy("hardened", 24));
    assert.ok(text.length > 0);
    assert.equal(done.timings.interruptions, 0);
  });

  test("can write to its data folder and to folders in memory from which nothing runs, and to nothing else", async () => {
    const search = "find / \\( -path /proc -o -path /sys \\) -prune -o -type d -writable -print 2>/dev/null";
    const writable = (await container.exec("bash", "-c", search)).stdout.trim().split("\n");
    const data = /^\/var\/lib\/llamapod(?:\/|$)/;
    const inMemory = writable.filter((path) => !data.test(path));
    assert.deepEqual(inMemory.sort(), ["/dev/mqueue", "/dev/shm", "/tmp"]);
    const mounts = (await container.exec("cat", "/proc/mounts")).stdout.split("\n").map((line) => line.split(" "));
    for (const folder of inMemory) assert.match(mounts.find(([, at]) => at === folder)?.[3] ?? "", /\bnoexec\b/, folder);
  });

  test("logs JSON to the engine, a line an event", async () => {
    const lines = (await container.logs()).trim().split("\n");
    const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.ok(events.some(({ msg, backend }) => msg === "model is ready" && backend === "cpu"));
  });

  test("keeps models on its volume when it is replaced, with their permissions", async () => {
    const models = "/var/lib/llamapod/models";
    const kept = `cp /app/demo-models/llamapod-demo.gguf ${models}/kept.gguf && chmod 0600 ${models}/kept.gguf`;
    assert.equal((await container.exec("bash", "-c", kept)).code, 0);
    await container[Symbol.asyncDispose]();
    container = await Container.start("llamapod-test-hardened", 18_081, [
      ...hardening,
      "--volume=llamapod-test-data:/var/lib/llamapod",
    ]);
    await container.ready();
    assert.equal((await container.exec("stat", "--format=%a %u %g", `${models}/kept.gguf`)).stdout, "600 10001 10001\n");
    using client = await container.connect();
    const { done } = await client.generate({ ...greedy("kept", 8), model: "kept" });
    assert.equal(done.usage.completion_tokens, 8);
  });
});

const skipPull = skip || (!hasRegistry && "THERE IS NO docker-registry HERE: install Debian's package of that name to run this");

describe("a model that is pulled inside the container", { skip: skipPull }, () => {
  const name = "llamapod-test-pull";
  const volume = `${name}-data`;
  const url = "http://127.0.0.1:18087";

  /** The registry is on this machine's loopback interface, which only the host's own network reaches. */
  const start = async () => {
    await podman("rm", "--force", "--time", "1", "--ignore", name);
    const environment = ["--env=LLAMAPOD_HOST=127.0.0.1", "--env=LLAMAPOD_PORT=18087"];
    await podman(
      "run",
      "--detach",
      "--name",
      name,
      "--network=host",
      ...hardening,
      ...environment,
      `--volume=${volume}:/var/lib/llamapod`,
      image,
    );
    await until(async () => (await fetch(`${url}/health/ready`).catch(() => undefined))?.ok === true);
  };
  const chat = async () => {
    using client = new LlamapodClient({ url, WebSocket });
    return await client.generate({ model: "pulled", messages: [{ role: "user", content: "Hello!" }], max_tokens: 8 }).result;
  };
  const stat = () => asUser(["podman", "exec", name, "stat", "--format=%a %u %g %s %Y", "/var/lib/llamapod/models/pulled.gguf"]);

  after(async () => {
    await podman("rm", "--force", "--time", "1", "--ignore", name);
    await podman("volume", "rm", "--force", volume);
  });

  test("is served at once, and stays, as it was, when the container is replaced", async () => {
    await using registry = await Registry.start();
    const content = await readFile(await tinyModel("gpt2"));
    const layer = { mediaType: "application/vnd.docker.ai.gguf.v3", content, title: "pulled.gguf" };
    await registry.push("models/tiny", "v1", [layer]);
    await start();
    const source = `oci://${registry.host}/models/tiny:v1`;
    const pulled = await asUser(["podman", "exec", name, "node", "/app/dist/src/main.js", "pull", "--quiet", source]);
    assert.equal(pulled.code, 0, pulled.stderr);
    const before = (await stat()).stdout;
    assert.match(before, new RegExp(`^6[04][04] 10001 10001 ${content.length} `));
    assert.ok((await chat()).usage.completion_tokens > 0);
    await start();
    assert.equal((await stat()).stdout, before);
    assert.ok((await chat()).usage.completion_tokens > 0);
  });
});

describe("the life of a container", { skip }, () => {
  test("a runner killed in the middle of an answer is a pause", async () => {
    await using container = await Container.start("llamapod-test-runner", 18_085, [...hardening, await realModels()]);
    await container.ready();
    using client = await container.connect();
    const answer = new Answer("killed");
    client.send({ type: "generate", ...greedy("killed", 100) });
    answer.apply(await client.take("started", "killed"));
    answer.apply(await client.take("delta", "killed"));
    const runner = "for p in /proc/[0-9]*; do grep -q [r]unner/main.js $p/cmdline 2>/dev/null && kill -9 ${p#/proc/}; done; true";
    assert.equal((await container.exec("bash", "-c", runner)).code, 0);
    const done = await client.readTo(answer);
    assert.equal(done.timings.interruptions, 1);
  });

  test("stop in the middle of an answer: the answer ends first, then the server, with 0", async () => {
    await using container = await Container.start("llamapod-test-stop", 18_082, [...hardening, await realModels()]);
    await container.ready();
    using client = await container.connect();
    const answer = new Answer("last");
    client.send({ type: "generate", ...greedy("last", 100) });
    answer.apply(await client.take("started", "last"));
    const stopped = podman("stop", "--time", "45", container.name);
    const done = await client.readTo(answer);
    assert.ok(done.finish_reason === "length" || done.finish_reason === "stop");
    assert.equal(await client.closed, 1001);
    await stopped;
    assert.equal(await podman("inspect", "--format", "{{.State.ExitCode}}", container.name), "0");
  });

  test("killed in the middle of an answer: started again, it is whole", async () => {
    await using container = await Container.start("llamapod-test-kill", 18_083, [...hardening, await realModels()]);
    await container.ready();
    using client = await container.connect();
    client.send({ type: "generate", ...greedy("cut", 100) });
    await client.take("started", "cut");
    await podman("kill", "--signal", "KILL", container.name);
    assert.equal(await client.closed, 1006);
    assert.equal(await podman("wait", container.name), "137");
    await podman("start", container.name);
    await container.ready();
    using again = await container.connect();
    const { text } = await again.generate(greedy("again", 8));
    assert.ok(text.length > 0);
  });

  test("a secret with keys is there for the server, which asks for them, and in no layer and no environment", async () => {
    const made = await asUser(["podman", "run", "--rm", "--network=none", image, "key", "alice"]);
    const key = /: (\S+)$/m.exec(made.stderr)?.[1] ?? "";
    const hash = /[0-9a-f]{64}/.exec(made.stdout)?.[0] ?? "none";
    await podman("secret", "rm", "llamapod-test-secret").catch(() => undefined);
    await asUser(["bash", "-c", `printf '%s\\n' '${made.stdout.trim()}' | podman secret create llamapod-test-secret -`]);
    await using container = await Container.start("llamapod-test-secrets", 18_084, [
      ...hardening,
      "--secret=llamapod-test-secret,type=mount,target=/etc/llamapod/api-keys,uid=10001,gid=10001,mode=0400",
      "--env=LLAMAPOD_API_KEYS_FILE=/etc/llamapod/api-keys",
      "--env=LLAMAPOD_ALLOW_UNAUTHENTICATED=false",
    ]);
    await container.ready();
    const ask = (headers: Readonly<Record<string, string>>) => fetch(`${container.url}/v1/models`, { headers });
    assert.equal((await ask({})).status, 401);
    assert.equal((await ask({ authorization: `Bearer ${key}` })).status, 200);
    assert.match((await container.exec("stat", "--format=%a %u", "/etc/llamapod/api-keys")).stdout, /^400 10001$/m);
    assert.doesNotMatch(await podman("inspect", container.name), new RegExp(`${hash}|${key}`));
    await container[Symbol.asyncDispose]();
    await podman("secret", "rm", "llamapod-test-secret");
  });
});
