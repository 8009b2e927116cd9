import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pino } from "pino";
import { LogLevels } from "../../src/logging/levels.ts";
import { heapInUse } from "../support/garbage.ts";
import { runCommand, ServerProcess, until } from "../support/processes.ts";
import { keysFile, startService, type RunningService, type TestKeys } from "../support/service.ts";
import { greedy, StreamClient } from "../support/stream-client.ts";

interface Asked {
  readonly method?: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

type Line = Readonly<Record<string, unknown>>;

describe("log", () => {
  const lines: Line[] = [];
  let keys: TestKeys;
  let service: RunningService;

  before(async () => {
    keys = await keysFile({ operator: "chat,admin", guest: "chat" });
    const log = pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line) as Line) });
    service = await startService(["llama", "gpt2"], { apiKeysFile: keys.file, warmSpare: "on" }, log);
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  function ask(path: string, init: Asked = {}, key = "operator"): Promise<Response> {
    const headers = { Authorization: `Bearer ${keys.secrets[key] ?? ""}`, "Content-Type": "application/json" };
    return fetch(`${service.url}${path}`, { ...init, headers: { ...headers, ...init.headers } });
  }

  function setLevels(levels: Readonly<Record<string, string>>, key?: string): Promise<Response> {
    return ask("/api/log-levels", { method: "PATCH", body: JSON.stringify(levels) }, key);
  }

  test("a request's id is taken over if it is one, made if not, and returned with every answer", async () => {
    const idOf = async (given: string | undefined, path: string) => {
      const response = await ask(path, given === undefined ? {} : { headers: { "X-Request-Id": given } });
      await response.text();
      return response.headers.get("X-Request-Id") ?? "";
    };
    assert.equal(await idOf("shop:order-7.1_a", "/v1/models"), "shop:order-7.1_a");
    assert.equal(await idOf("of-an-error", "/v1/nothing"), "of-an-error");
    for (const wrong of [undefined, "two words", "-dash-first", 'say "hi"', "x".repeat(65)]) {
      assert.match(await idOf(wrong, "/health/live"), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    }
    const refused = await fetch(`${service.url}/v1/models`, { headers: { "X-Request-Id": "of-a-stranger" } });
    assert.equal(refused.status, 401);
    assert.equal(refused.headers.get("X-Request-Id"), "of-a-stranger");
  });

  test("it goes with the request into the runner, over HTTP and WebSocket", async () => {
    assert.equal((await setLevels({ server: "debug" })).status, 200);
    const body = JSON.stringify({ prompt: "Once", max_tokens: 3 });
    await (await ask("/v1/completions", { method: "POST", body, headers: { "X-Request-Id": "into-the-runner" } })).text();
    const headers = { Authorization: `Bearer ${keys.secrets["guest"] ?? ""}`, "X-Request-Id": "of-a-socket" };
    using client = await StreamClient.connect(service.url, { headers });
    await client.generate(greedy("spoken", 3));
    for (const id of ["into-the-runner", "of-a-socket"]) {
      const ofRunner = () => lines.filter((line) => line["request_id"] === id && "runner" in line);
      await until(() => ofRunner().some(({ msg }) => /^slot \d is free after \d+ tokens: length$/.test(String(msg))));
      assert.match(String(ofRunner()[0]?.["msg"]), /^slot \d holds \d+ of the prompt's \d+ tokens$/);
      const ended = lines.find((line) => line["request_id"] === id && line["msg"] === "generation ended");
      assert.equal(ended?.["completion_tokens"], 3);
    }
    assert.ok(lines.some((line) => line["msg"] === "answered" && line["request_id"] === "into-the-runner"));
    await setLevels({ server: "info" });
  });

  test("levels change at run time, and llama.cpp's lines have their own, in runners that run already, too", async () => {
    assert.deepEqual(await (await ask("/api/log-levels")).json(), { server: "info", "llama.cpp": "warn" });
    const ofEngine = (level: number) => lines.filter((line) => line["component"] === "llama.cpp" && line["level"] === level);
    assert.deepEqual([ofEngine(20), ofEngine(30)], [[], []]);
    assert.deepEqual(await (await setLevels({ "llama.cpp": "debug" })).json(), { server: "info", "llama.cpp": "debug" });
    const body = JSON.stringify({ model: "gpt2", prompt: "Once", max_tokens: 1 });
    await (await ask("/v1/completions", { method: "POST", body })).text();
    await until(() => ofEngine(20).length > 0 && ofEngine(30).length > 0);
    assert.ok(
      lines.some(({ msg }) => String(msg).startsWith("init_tokenizer: ")),
      "a line that llama.cpp has for debug alone",
    );
  });

  test("who may not, and what is no level, changes nothing", async () => {
    const before = await (await ask("/api/log-levels")).json();
    assert.equal((await setLevels({ server: "trace" }, "guest")).status, 403);
    for (const wrong of [{ server: "loud" }, { serevr: "debug" }]) {
      const refused = await setLevels(wrong);
      assert.equal(refused.status, 400);
      assert.match(await refused.text(), /ser(ver|evr)/);
    }
    assert.deepEqual(await (await ask("/api/log-levels")).json(), before);
  });
});

describe("log file", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "llamapod-log-"));
  });
  after(async () => {
    await rm(folder, { recursive: true });
  });

  test("it is put aside when it is full, and its owner's group may read it, and nobody else, whatever the umask", async () => {
    const logs = join(folder, "made", "for", "it");
    const flags = ["--log-file", join(logs, "llamapod.log"), "--log-file-bytes", "2000", "--log-file-count", "2"];
    const models = ["--models-dir", folder, "--demo-models", "false", "--log-level", "trace"];
    const umask = process.umask(0o077);
    const starting = ServerProcess.start([...models, ...flags]);
    process.umask(umask);
    const server = await starting;
    const names = ["llamapod.log", "llamapod.log.1", "llamapod.log.2"];
    await until(async () => {
      await (await fetch(`${server.url}/health/live`)).text();
      return (await readdir(logs)).length === names.length;
    });
    server.kill("SIGTERM");
    assert.equal((await server.exited).code, 0);
    assert.deepEqual((await readdir(logs)).sort(), names);
    for (const name of names) {
      assert.equal((await stat(join(logs, name))).mode & 0o777, 0o640, name);
      for (const line of (await readFile(join(logs, name), "utf8")).trimEnd().split("\n")) JSON.parse(line);
    }
    for (const made of [logs, join(logs, ".."), join(logs, "..", "..")]) {
      assert.equal((await stat(made)).mode & 0o777, 0o750, made);
    }
  });

  test("one that cannot be written is said at the start, with exit code 2", async () => {
    const { code, stderr } = await runCommand(["serve", "--models-dir", folder, "--log-file", "/proc/llamapod.log"]);
    assert.equal(code, 2);
    assert.match(stderr, /The log file \/proc\/llamapod\.log cannot be written/);
  });
});

test("loggers that are gone leave nothing behind: every load makes some, and every runner", async () => {
  const log = pino({ level: "info" }, { write: () => undefined });
  const levels = new LogLevels(log, "error");
  const makeMany = () => {
    for (let index = 0; index < 20_000; index++) log.child({ model: "llama" });
  };
  // What the first ones leave is compiled code.
  makeMany();
  const before = await heapInUse();
  for (let round = 0; round < 5; round++) makeMany();
  const left = (await heapInUse()) - before;
  assert.ok(left < 2 ** 20, `${left} bytes are left of 100,000 loggers`);
  const child = log.child({ component: "llama.cpp" });
  levels.set("llama.cpp", "debug");
  assert.deepEqual([log.level, child.level], ["info", "debug"]);
});
