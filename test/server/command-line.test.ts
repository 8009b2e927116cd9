import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parse } from "yaml";
import { ConfigError, loadConfig, settings } from "../../src/config.ts";
import { runCommand, ServerProcess } from "../support/processes.ts";

describe("the command line", () => {
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "llamapod-config-"));
  });
  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function yamlFile(text: string): Promise<string> {
    const path = join(folder, "llamapod.yaml");
    await writeFile(path, text);
    return path;
  }

  test("a number of seconds that no timer can wait for is refused", () => {
    for (const { key } of settings.filter((setting) => setting.key.endsWith("Seconds"))) {
      const config: Readonly<Record<string, unknown>> = loadConfig(undefined, {}, { [key]: 2_147_483 });
      assert.equal(config[key], 2_147_483);
      assert.throws(() => loadConfig(undefined, {}, { [key]: 2_147_484 }), ConfigError, key);
    }
  });

  test("--help lists every setting, with its default", async () => {
    const { code, stdout } = await runCommand(["serve", "--help"]);
    assert.equal(code, 0);
    const { stdout: printed } = await runCommand(["serve", "--print-config"]);
    for (const key of Object.keys(parse(printed) as object)) {
      assert.ok(stdout.includes(`--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`), key);
    }
    assert.match(stdout, /default:\s+8080/);
    assert.match(stdout, /LLAMAPOD_/);
  });

  test("flags win over the environment, the environment over the file, the file over defaults", async () => {
    const file = await yamlFile("port: 1001\nslots: 2\nmaxQueue: 7\nallowedHosts: [one.example, two.example]\n");
    const args = ["serve", "--print-config", "--config", file, "--port", "1003"];
    const { code, stdout } = await runCommand(args, { LLAMAPOD_PORT: "1002", LLAMAPOD_SLOTS: "3" });
    assert.equal(code, 0);
    const config = parse(stdout) as Record<string, unknown>;
    assert.deepEqual(
      [config["port"], config["slots"], config["maxQueue"], config["graceSeconds"], config["allowedHosts"]],
      [1003, 3, 7, 60, ["one.example", "two.example"]],
    );
  });

  const wrong = [
    { what: "a flag", args: ["--port", "http"], says: /--port: must be a whole number from 0 to 65535, not "http"\./ },
    { what: "a flag out of range", args: ["--slots", "0"], says: /--slots: must be a whole number from 1 to 64, not "0"\./ },
    { what: "a choice", args: ["--gpu", "maybe"], says: /--gpu: must be one of auto, off, required, not "maybe"\./ },
    {
      what: "neither yes nor no",
      args: ["--demo-models", "perhaps"],
      says: /--demo-models: must be true or false, not "perhaps"\./,
    },
    { what: "a list", args: ["--preload", "a,,b"], says: /--preload: must be names, separated by commas, not "a,,b"\.\n$/ },
    {
      what: "a size",
      args: ["--memory-budget", "much"],
      says: /--memory-budget: must be a number of bytes.*12GiB, not "much"\./,
    },
    {
      what: "an environment variable",
      args: [],
      environment: { LLAMAPOD_CONTEXT_SIZE: "12" },
      says: /LLAMAPOD_CONTEXT_SIZE: must be a whole number, 256 or more, not "12"\./,
    },
    { what: "a key of the file", args: [], yaml: "maxQueue: many\n", says: /maxQueue in .*llamapod\.yaml: .*, not "many"\./ },
    {
      what: "an unknown key of the file",
      args: [],
      yaml: "prot: 80\n",
      says: /prot in .*llamapod\.yaml: is not a setting; .*--help.*\./,
    },
    { what: "a switch for a number", args: [], yaml: "slots: true\n", says: /slots in .*llamapod\.yaml: .*, not true\./ },
    { what: "nothing for a number", args: [], yaml: "slots:\n", says: /slots in .*llamapod\.yaml: .*, not null\./ },
    {
      what: "each of several settings",
      args: ["--slots", "0"],
      environment: { LLAMAPOD_GPU: "maybe" },
      yaml: "prot: 80\n",
      says: /^(?=[^]*--slots: )(?=[^]*LLAMAPOD_GPU: )(?=[^]*prot in )/,
    },
    { what: "a file that is no YAML", args: [], yaml: "{", says: /llamapod\.yaml cannot be read/ },
    {
      what: "a file that is missing",
      args: ["--config", "/nowhere/llamapod.yaml"],
      says: /\/nowhere\/llamapod\.yaml does not exist/,
    },
    { what: "an address beyond this machine", args: ["--host", "0.0.0.0"], says: /--host 0\.0\.0\.0 .*--allow-unauthenticated/ },
    { what: "a model that is not there", args: ["--model", "gone", "--port", "0"], says: /"gone"/ },
  ];
  for (const { what, args, environment, yaml, says } of wrong) {
    test(`${what} that cannot be used: exit code 2, and what and where it is`, async () => {
      const config = yaml === undefined ? [] : ["--config", await yamlFile(yaml)];
      const { code, stderr } = await runCommand(["serve", ...config, "--models-dir", folder, ...args], environment);
      assert.equal(code, 2, stderr);
      assert.match(stderr, says);
      assert.doesNotMatch(stderr, /^\s+at /m, "no stack trace");
    });
  }

  test("yes and no may be written as people write them", () => {
    for (const [written, means] of [
      ["off", false],
      ["no", false],
      ["0", false],
      ["on", true],
      ["True", true],
    ] as const) {
      assert.equal(loadConfig(undefined, { LLAMAPOD_DEMO_MODELS: written }, {}).demoModels, means, written);
    }
  });

  test("with --allow-unauthenticated it listens beyond this machine", async () => {
    await using server = await ServerProcess.start(["--models-dir", folder, "--host", "0.0.0.0", "--allow-unauthenticated"]);
    assert.equal((await fetch(`${server.url}/health/live`)).status, 200);
  });

  test("a port in use: exit code 2, and what to do", async () => {
    const occupant = createServer().listen(0, "127.0.0.1");
    await once(occupant, "listening");
    const { port } = occupant.address() as AddressInfo;
    const { code, stderr } = await runCommand(["serve", "--models-dir", folder, "--port", String(port)]);
    occupant.close();
    assert.equal(code, 2);
    assert.match(stderr, new RegExp(`${port}.*--port`));
    assert.doesNotMatch(stderr, /^\s+at /m);
  });

  test("an address that is not this machine's: exit code 2, and no stack trace", async () => {
    const { code, stderr } = await runCommand([
      "serve",
      "--models-dir",
      folder,
      "--host",
      "192.0.2.1",
      "--allow-unauthenticated",
    ]);
    assert.equal(code, 2);
    assert.match(stderr, /192\.0\.2\.1/);
    assert.doesNotMatch(stderr, /^\s+at /m);
  });

  test("an unknown command or option: an error, and where help is", async () => {
    for (const args of [["surve"], ["serve", "--prot", "80"]]) {
      const { code, stderr } = await runCommand(args);
      assert.notEqual(code, 0);
      assert.match(stderr, /unknown[^]*--help/);
    }
  });
});
