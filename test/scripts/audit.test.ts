import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, beforeEach, afterEach, describe, test } from "node:test";
import { FileServer } from "../support/file-server.ts";

const script = resolve("scripts/audit.mjs");

const project = { name: "audited", version: "1.0.0", dependencies: { served: "1.0.0" }, devDependencies: { tested: "1.0.0" } };
const lock = {
  ...project,
  lockfileVersion: 3,
  packages: {
    "": project,
    "node_modules/served": { version: "1.0.0" },
    "node_modules/tested": { version: "1.0.0", dev: true },
  },
};

describe("npm run audit", () => {
  let folder: string;
  let registry: FileServer;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "llamapod-audit-"));
    await writeFile(join(folder, "package.json"), JSON.stringify(project));
    await writeFile(join(folder, "package-lock.json"), JSON.stringify(lock));
  });
  after(async () => {
    await rm(folder, { recursive: true });
  });
  beforeEach(async () => {
    registry = await FileServer.start();
    for (const name of ["served", "tested"]) {
      const known = { name, "dist-tags": { latest: "1.0.0" }, versions: { "1.0.0": { name, version: "1.0.0" } } };
      registry.files.set(`/${name}`, { content: Buffer.from(JSON.stringify(known)) });
    }
  });
  afterEach(async () => {
    await registry[Symbol.asyncDispose]();
  });

  function knows(name: string, severity: string): void {
    const advisory = { id: 1, title: "It is wrong", url: "https://example.com/1", severity, vulnerable_versions: "*" };
    registry.files.set("/-/npm/v1/security/advisories/bulk", { content: Buffer.from(JSON.stringify({ [name]: [advisory] })) });
  }

  async function audit(): Promise<{ code: number; output: string }> {
    const env = {
      ...process.env,
      npm_config_registry: `${registry.url}/`,
      npm_config_cache: await mkdtemp(join(folder, "cache-")),
    };
    return new Promise((done) => {
      const child = execFile(process.execPath, [script], { cwd: folder, env }, (_error, _stdout, stderr) =>
        done({ code: child.exitCode ?? -1, output: stderr }),
      );
    });
  }

  const cases = [
    { name: "served", severity: "low", code: 0 },
    { name: "served", severity: "moderate", code: 1 },
    { name: "tested", severity: "moderate", code: 0 },
    { name: "tested", severity: "high", code: 1 },
  ];
  for (const { name, severity, code } of cases) {
    test(`${severity} severity in what is ${name} ${code === 0 ? "passes" : "fails, and is named"}`, async () => {
      knows(name, severity);
      const result = await audit();
      assert.equal(result.code, code, result.output);
      assert.equal(result.output.includes("It is wrong (https://example.com/1)"), code === 1, result.output);
    });
  }

  test("a registry that tells of no advisories fails nothing, and is told of", async () => {
    registry.files.set("/-/npm/v1/security/advisories/bulk", { content: Buffer.alloc(0), status: 405 });
    registry.files.set("/-/npm/v1/security/audits/quick", { content: Buffer.alloc(0), status: 405 });
    const { code, output } = await audit();
    assert.match(output, /NOTHING WAS AUDITED/);
    assert.equal(code, 0);
  });

  test("a registry that refuses to answer fails", async () => {
    registry.files.set("/-/npm/v1/security/advisories/bulk", { content: Buffer.alloc(0), status: 403 });
    registry.files.set("/-/npm/v1/security/audits/quick", { content: Buffer.alloc(0), status: 403 });
    const { code, output } = await audit();
    assert.match(output, /could not be asked/);
    assert.equal(code, 1);
  });
});
