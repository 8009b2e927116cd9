import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { DownloadError, type DownloadFailure } from "../../src/models/download/errors.ts";
import type { PulledModel } from "../../src/models/download/pull.ts";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { FileServer } from "../support/file-server.ts";
import { pullInto } from "../support/pull.ts";

const mediaType = "application/vnd.docker.ai.gguf.v3";

/** What registries have done to others who pulled from them. */
describe("incidents of others: a registry that means no good", () => {
  let folder: string;
  let server: FileServer;

  beforeEach(async () => {
    folder = join(await mkdtemp(join(tmpdir(), "llamapod-source-")), "models");
    server = await FileServer.start();
    server.files.set("/v2/", { content: Buffer.alloc(0) });
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
    await rm(dirname(folder), { recursive: true });
  });

  const pull = (): Promise<PulledModel> => pullInto(folder, `oci://${new URL(server.url).host}/a/model:v1`, "again");

  const manifest = (content: Buffer, headers: Record<string, string> = {}) => {
    server.files.set("/v2/a/model/manifests/v1", { content, headers });
  };
  const layer = (fields: object) => {
    manifest(Buffer.from(JSON.stringify({ layers: [{ mediaType, size: 1, ...fields }] })));
  };
  const refused = async (failure: DownloadFailure, message: RegExp) => {
    await assert.rejects(pull(), (thrown) => {
      assert.ok(thrown instanceof DownloadError, String(thrown));
      assert.equal(thrown.failure, failure, thrown.message);
      assert.match(thrown.message, message);
      return true;
    });
    assert.deepEqual(await readdir(dirname(folder)).then((names) => names.filter((name) => name !== "models")), []);
  };

  for (const digest of [
    "sha256:../../../../etc/passwd",
    `sha256:${"0".repeat(63)}`,
    `sha256:${"0".repeat(64)}/../x`,
    `md5:${"0".repeat(64)}`,
    "",
  ]) {
    test(`a digest that is a path, or none (CVE-2024-37032, CVE-2026-103663): ${JSON.stringify(digest)}`, async () => {
      layer({ digest });
      await refused("unreachable", /neither an image nor an artefact/);
    });
  }

  for (const title of ["../evil.gguf", "/tmp/evil.gguf", "a/../../evil.gguf", "..\\evil.gguf", ".evil.gguf"]) {
    test(`a title that leads out of the folder (CVE-2024-45436): ${title}`, async () => {
      const content = await readFile(await tinyModel("gpt2"));
      const digest = `sha256:${createHash("sha256").update(content).digest("hex")}`;
      layer({ digest, size: content.length, annotations: { "org.opencontainers.image.title": title } });
      server.files.set(`/v2/a/model/blobs/${digest}`, { content });
      const { path } = await pull();
      assert.ok(path.startsWith(`${folder}/`) && !path.slice(folder.length + 1).includes(".."), path);
      assert.deepEqual(await readdir(dirname(folder)), ["models"]);
    });
  }

  for (const [realm, message] of [
    ["http://169.254.169.254/latest", /not https/],
    ["https://169.254.169.254/latest", /not a public address/],
    ["https://10.0.0.1/token", /not a public address/],
    ["https://[::ffff:10.0.0.1]/token", /not a public address/],
    ["file:///etc/passwd", /not https/],
  ] as const) {
    test(`logins that are sent elsewhere (CVE-2026-5530, GO-2025-3824): ${realm}`, async () => {
      const challenge = `Bearer realm="${realm}",service="x"`;
      server.files.set("/v2/", { content: Buffer.alloc(0), status: 401, headers: { "WWW-Authenticate": challenge } });
      await refused("denied", message);
    });
  }

  test("a manifest that is longer than any manifest", async () => {
    manifest(Buffer.alloc(9 * 1024 * 1024, " "));
    await refused("unreachable", /short document was expected|broke off/);
  });

  test("a manifest that is small until it is unpacked: it is not unpacked", async () => {
    manifest(gzipSync(Buffer.alloc(64 * 1024 * 1024, " ")), { "Content-Encoding": "gzip" });
    await refused("unreachable", /does not answer like a registry/);
  });
});
