import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { PulledModel } from "../../src/models/download/pull.ts";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { FileServer } from "../support/file-server.ts";
import { pullInto } from "../support/pull.ts";
import { hasRegistry, Registry } from "../support/registry.ts";

const indexType = "application/vnd.oci.image.index.v1+json";
const manifestType = "application/vnd.oci.image.manifest.v1+json";

let folder: string;
let content: Buffer;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "llamapod-oci-"));
  content = await readFile(await tinyModel("gpt2"));
});
after(async () => {
  await rm(folder, { recursive: true });
});

const pull = (source: string): Promise<PulledModel> => pullInto(folder, source, "again");

const skip = hasRegistry ? false : "THERE IS NO docker-registry HERE: install Debian's package of that name to run this";

describe("pulling from a registry", { skip }, () => {
  let registry: Registry;

  before(async () => {
    registry = await Registry.start();
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
  });

  const shapes = [
    { what: "Docker's model artefact", mediaType: "application/vnd.docker.ai.gguf.v3", file: "shape-v1.gguf" },
    {
      what: "an artefact whose layer has a title, as RamaLama and ORAS make it",
      mediaType: "application/vnd.cnai.model.weight.v1.raw",
      title: "titled.gguf",
      file: "titled.gguf",
    },
    { what: "Ollama's", mediaType: "application/vnd.ollama.image.model", file: "shape-v1.gguf" },
  ];
  for (const { what, mediaType, title, file } of shapes) {
    test(`${what}: the GGUF layer becomes the file`, async () => {
      const licence = { mediaType: "application/vnd.docker.ai.license", content: Buffer.from("be nice") };
      await registry.push("models/shape", "v1", [licence, { mediaType, content, ...(title !== undefined && { title }) }]);
      const { path } = await pull(`oci://${registry.host}/models/shape:v1`);
      assert.equal(basename(path), file);
      assert.ok((await readFile(path)).equals(content));
    });
  }

  test("an index leads to the manifest that has a GGUF layer", async () => {
    const other = await registry.push("models/many", "other", [{ mediaType: "text/plain", content: Buffer.from("x") }]);
    const model = await registry.push("models/many", "model", [{ mediaType: "application/vnd.docker.ai.gguf.v3", content }]);
    const manifests = [];
    for (const digest of [other, model]) {
      const size = (
        await (
          await fetch(`http://${registry.host}/v2/models/many/manifests/${digest}`, { headers: { Accept: manifestType } })
        ).text()
      ).length;
      manifests.push({ mediaType: manifestType, digest, size });
    }
    await registry.pushManifest("models/many", "latest", indexType, { schemaVersion: 2, mediaType: indexType, manifests });
    const { path } = await pull(`oci://${registry.host}/models/many`);
    assert.ok((await readFile(path)).equals(content));
    assert.ok((await readFile((await pull(`oci://${registry.host}/models/many@${model}`)).path)).equals(content));
  });

  test("an image without a GGUF file, and one that is not there, say so", async () => {
    await registry.push("plain", "latest", [{ mediaType: "text/plain", content: Buffer.from("x") }]);
    await assert.rejects(pull(`oci://${registry.host}/plain`), /holds no GGUF file/);
    await assert.rejects(pull(`oci://${registry.host}/plain:v9`), /has no plain:v9/);
  });
});

describe("a manifest that is not what its digest says is refused, and nothing is pulled", () => {
  const digestOf = (bytes: Buffer) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

  async function refused(reference: string, serve: (server: FileServer, manifest: Buffer) => void): Promise<void> {
    await using server = await FileServer.start();
    const layers = [{ mediaType: "application/vnd.docker.ai.gguf.v3", digest: digestOf(content), size: content.length }];
    server.files.set("/v2/", { content: Buffer.alloc(0) });
    server.files.set(`/v2/swapped/blobs/${digestOf(content)}`, { content });
    serve(server, Buffer.from(JSON.stringify({ layers })));
    const pulling = pull(`oci://${new URL(server.url).host}/swapped${reference}`);
    await assert.rejects(pulling, { failure: "damaged", message: /sha256:0000.*swapped.*not what its digest says/ });
    assert.ok(server.requests.every(({ path }) => !path.includes("/blobs/")));
  }

  const wanted = `sha256:${"0".repeat(64)}`;

  test("where the digest was asked for", async () => {
    await refused(`@${wanted}`, (server, manifest) => {
      server.files.set(`/v2/swapped/manifests/${wanted}`, { content: manifest });
    });
  });

  test("where an index names it", async () => {
    await refused(":v1", (server, manifest) => {
      const index = { manifests: [{ digest: wanted }, { digest: digestOf(manifest) }] };
      server.files.set("/v2/swapped/manifests/v1", { content: Buffer.from(JSON.stringify(index)) });
      server.files.set(`/v2/swapped/manifests/${wanted}`, { content: manifest });
      server.files.set(`/v2/swapped/manifests/${digestOf(manifest)}`, { content: manifest });
    });
  });
});

test("an artefact with two files of one name is refused", async () => {
  await using server = await FileServer.start();
  const annotations = { "org.opencontainers.image.title": "same.gguf" };
  const layers = ["1", "2"].map((digit) => ({
    mediaType: "application/vnd.cnai.model.weight.v1.raw",
    digest: `sha256:${digit.repeat(64)}`,
    size: 1,
    annotations,
  }));
  server.files.set("/v2/", { content: Buffer.alloc(0) });
  server.files.set("/v2/twins/manifests/v1", { content: Buffer.from(JSON.stringify({ layers })) });
  await assert.rejects(pull(`oci://${new URL(server.url).host}/twins:v1`), {
    failure: "bad_target",
    message: /two files.*same\.gguf/,
  });
});

test("a registry with tokens: one is asked for, and goes to the registry alone", async () => {
  await using server = await FileServer.start();
  const digest = `sha256:${createHash("sha256").update(content).digest("hex")}`;
  const layers = [{ mediaType: "application/vnd.docker.ai.gguf.v3", digest, size: content.length }];
  const challenge = `Bearer realm="${server.url}/token",service="registry.test"`;
  server.files.set("/v2/", { content: Buffer.alloc(0), status: 401, headers: { "WWW-Authenticate": challenge } });
  const scope = "service=registry.test&scope=repository%3Aprivate%2Fmodel%3Apull";
  server.files.set(`/token?${scope}`, { content: Buffer.from('{"token": "t1", "expires_in": 300}') });
  server.files.set("/v2/private/model/manifests/v1", { content: Buffer.from(JSON.stringify({ layers })) });
  server.files.set(`/v2/private/model/blobs/${digest}`, { content });
  const { path } = await pull(`oci://${new URL(server.url).host}/private/model:v1`);
  assert.ok((await readFile(path)).equals(content));
  const rights = server.requests.map(({ path: asked, authorization }) => [asked.split("/")[3] ?? asked, authorization]);
  assert.deepEqual(rights.slice(0, 3), [
    ["/v2/", undefined],
    [`/token?${scope}`, undefined],
    ["model", "Bearer t1"],
  ]);
  assert.ok(rights.slice(3).every(([, authorization]) => authorization === "Bearer t1"));
});
