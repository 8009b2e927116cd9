import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import type { ModelDefinition } from "../../src/models/catalogue.ts";
import { DownloadError, type DownloadFailure } from "../../src/models/download/errors.ts";
import type { PulledModel, PullRequest } from "../../src/models/download/pull.ts";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { FileServer } from "../support/file-server.ts";
import { pullInto } from "../support/pull.ts";
import { hasRegistry, Registry } from "../support/registry.ts";
import { tarOf, type TarEntry } from "../support/tar.ts";

const plain = "application/vnd.oci.image.layer.v1.tar";
const gzipped = "application/vnd.oci.image.layer.v1.tar+gzip";
const dockers = "application/vnd.docker.image.rootfs.diff.tar.gzip";

let folder: string;
let content: Buffer;

before(async () => {
  content = await readFile(await tinyModel("gpt2"));
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "llamapod-packed-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

interface Options {
  readonly definition?: ModelDefinition;
  readonly existing?: PullRequest["existing"];
}

const pull = (source: string, { definition = {}, existing = "keep" }: Options = {}): Promise<PulledModel> =>
  pullInto(folder, source, existing, definition);

/** @returns the message, after a look at whether anything was left */
async function refused(pulling: Promise<unknown>, failure: DownloadFailure): Promise<string> {
  const error: unknown = await pulling.then(
    () => assert.fail("it was pulled"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof DownloadError, String(error));
  assert.equal(error.failure, failure, error.message);
  const left = await readdir(folder, { recursive: true });
  assert.deepEqual(left, [".llamapod"], "nothing is left");
  return error.message;
}

const model = (path = "models/tiny.gguf"): TarEntry => ({ path, content });
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

const skip = hasRegistry ? false : "THERE IS NO docker-registry HERE: install Debian's package of that name to run this";

describe("pulling an image that has the model in a layer", { skip }, () => {
  let registry: Registry;

  before(async () => {
    registry = await Registry.start();
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
  });

  /** @param layers the lowest first */
  async function pushed(...layers: (readonly [mediaType: string, content: Buffer])[]): Promise<string> {
    const pushing = layers.map(([mediaType, bytes]) => ({ mediaType, content: bytes }));
    await registry.push("packed/tiny", "v1", pushing);
    return `oci://${registry.host}/packed/tiny:v1`;
  }

  const kinds = [
    { what: "a tar archive", mediaType: plain, pack: (bytes: Buffer) => bytes },
    { what: "a compressed one", mediaType: gzipped, pack: (bytes: Buffer) => gzipSync(bytes) },
    { what: "a compressed one of Docker's", mediaType: dockers, pack: (bytes: Buffer) => gzipSync(bytes) },
  ];
  for (const { what, mediaType, pack } of kinds) {
    test(`${what}: the GGUF file in it becomes the model, named after the image`, async () => {
      const others: TarEntry[] = [
        { path: "models/", type: "Directory" },
        { path: "models/model.file", type: "SymbolicLink", linkpath: "tiny.gguf" },
        { path: "models/LICENSE", content: Buffer.from("be nice") },
      ];
      const base = tarOf([{ path: "etc/os-release", content: Buffer.alloc(100_000, "x") }]);
      const source = await pushed([gzipped, gzipSync(base)], [mediaType, pack(tarOf([...others, model()]))]);
      const { path, files } = await pull(source);
      assert.equal(basename(path), "tiny-v1.gguf");
      assert.ok((await readFile(path)).equals(content));
      assert.equal(files[0]?.sha256, sha256(content));
      assert.deepEqual(await readdir(folder), [".llamapod", "tiny-v1.gguf"]);
      assert.deepEqual(await readdir(join(folder, ".llamapod")), ["tiny-v1.gguf.pulled"], "nothing else was written");
    });
  }

  test("the file needs no name that ends in .gguf, and the catalogue names it and says what it must be", async () => {
    const source = await pushed([plain, tarOf([model("models/blobs/sha256-0123")])]);
    const { path } = await pull(source, { definition: { file: "named.gguf", sha256: sha256(content) } });
    assert.equal(basename(path), "named.gguf");
    await rm(path);
    const definition = { file: "other.gguf", sha256: "0".repeat(64) };
    await rm(join(folder, ".llamapod"), { recursive: true });
    assert.match(await refused(pull(source, { definition }), "damaged"), /the catalogue says 0000/);
    assert.match(await refused(pull(source, { definition: { sizeBytes: 7 } }), "damaged"), /should have 7 bytes/);
  });

  for (const above of [
    { path: "models/tiny.gguf", type: "SymbolicLink", linkpath: "gone" } as const,
    { path: "models/tiny.gguf" },
  ]) {
    test(`a file that a ${"type" in above ? "link" : "file that is empty"} above takes the place of is not there`, async () => {
      const source = await pushed([plain, tarOf([model()])], [plain, tarOf([above])]);
      await refused(pull(source), "not_found");
    });
  }

  test("once it is here it stays, until the tag stands for another image", async () => {
    const source = await pushed([plain, tarOf([model()])]);
    assert.equal((await pull(source)).wasHere, false);
    assert.equal((await pull(source)).wasHere, true);
    const other = await readFile(await tinyModel("llama"));
    await pushed([plain, tarOf([{ path: "m.gguf", content: other }])]);
    await assert.rejects(pull(source), /not known to be the same file. Use --force/);
    const { path } = await pull(source, { existing: "again" });
    assert.ok((await readFile(path)).equals(other));
  });

  test("what a higher layer replaces, removes or covers does not count", async () => {
    const old = (path: string): TarEntry => ({ path, content: Buffer.from("GGUF, an old one") });
    const lowest = tarOf([old("models/tiny.gguf"), old("old/a.gguf"), old("gone/b.gguf"), old("gone/c/d.gguf")]);
    const middle = tarOf([{ path: "gone/.wh..wh..opq" }, { path: ".wh.old" }]);
    const source = await pushed([plain, lowest], [plain, middle], [plain, tarOf([model("./models/tiny.gguf")])]);
    const { path } = await pull(source);
    assert.ok((await readFile(path)).equals(content));
  });

  test("two GGUF files: they are listed, with what to do, and none is kept", async () => {
    const source = await pushed([plain, tarOf([model("models/b.gguf")])], [gzipped, gzipSync(tarOf([model("models/a.gguf")]))]);
    const message = await refused(pull(source), "bad_target");
    assert.match(message, /holds 2 GGUF files/);
    assert.ok(
      message.includes(`"/models/a.gguf" (${content.length} bytes), "/models/b.gguf" (${content.length} bytes)`),
      message,
    );
    assert.match(message, /podman cp/);
  });

  test("no GGUF file", async () => {
    const source = await pushed([gzipped, gzipSync(tarOf([{ path: "models/tiny.gguf", content: Buffer.from("<html>") }]))]);
    assert.match(await refused(pull(source), "not_found"), /holds no GGUF file/);
  });

  test("links to a GGUF file, and files with holes, are none", async () => {
    const links: TarEntry[] = [
      { path: "models/a.gguf", type: "SymbolicLink", linkpath: "/etc/passwd" },
      { path: "models/b.gguf", type: "Link", linkpath: "../../../../etc/passwd" },
      { path: "models/c.gguf", type: "GNUDumpDir", content: Buffer.from("GGUF") },
    ];
    const sparse = tarOf([{ path: "models/d.gguf", content: Buffer.from("GGUF with holes") }]);
    sparse[156] = "S".charCodeAt(0);
    fixChecksum(sparse);
    const source = await pushed([plain, tarOf(links)], [plain, sparse]);
    assert.match(await refused(pull(source), "not_found"), /holds no GGUF file/);
  });

  for (const path of ["../../../../tmp/escaped.gguf", "/etc/escaped.gguf", "models/../../escaped.gguf", "C:\\escaped.gguf"]) {
    test(`a path in it names no file here: ${path}`, async () => {
      const source = await pushed([plain, tarOf([model(path)])]);
      assert.equal((await pull(source)).path, join(folder, "tiny-v1.gguf"));
    });
  }

  const broken = [
    { what: "an archive that is cut off", layer: () => tarOf([model()]).subarray(0, content.length / 2), mediaType: plain },
    { what: "a compressed one that is cut off", layer: () => gzipSync(tarOf([model()])).subarray(0, -100), mediaType: gzipped },
    { what: "no archive at all", layer: () => Buffer.alloc(10_000, "no archive"), mediaType: plain },
    { what: "what is compressed without saying so", layer: () => gzipSync(tarOf([model()])), mediaType: plain },
    {
      what: "what only begins as if it were compressed",
      layer: () => Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.alloc(100_000, "x")]),
      mediaType: plain,
    },
    { what: "nothing compressed", layer: () => Buffer.alloc(10_000, "not compressed"), mediaType: gzipped },
    {
      what: "bytes behind what is compressed",
      layer: () => Buffer.concat([gzipSync(tarOf([model()])), Buffer.alloc(9_000_000)]),
      mediaType: gzipped,
    },
    {
      what: "a wrong checksum",
      layer: () => {
        const archive = tarOf([{ path: "a", content: Buffer.from("a") }, model()]);
        archive[1_024] = 1;
        return archive;
      },
      mediaType: plain,
    },
    {
      what: "more names than an image of a model can have",
      layer: () => gzipSync(tarOf(Array.from({ length: 10_001 }, (_, index) => ({ path: `.wh.${index}` })))),
      mediaType: gzipped,
    },
  ];
  for (const { what, layer, mediaType } of broken) {
    test(`${what}: the layer is named, and nothing is kept`, async () => {
      const bytes = layer();
      const source = await pushed([mediaType, bytes]);
      const message = await refused(pull(source), "damaged");
      assert.match(message, /cannot be read as a/);
      assert.ok(message.includes(sha256(bytes)), message);
    });
  }

  test("a file that claims more bytes than the disk has is not begun", async () => {
    const source = await pushed([plain, tarOf([{ ...model(), claimedSize: 2 ** 50 }])]);
    assert.match(await refused(pull(source), "no_space"), /needs 1125899906842624 bytes more/);
  });

  test("what begins like a GGUF file and is none is not kept", async () => {
    const source = await pushed([plain, tarOf([{ path: "m.gguf", content: Buffer.from("GGUF".padEnd(5_000, "x")) }])]);
    await refused(pull(source), "damaged");
  });

  test("what lies behind the end of an archive is read and thrown away", async () => {
    const source = await pushed([gzipped, gzipSync(Buffer.concat([tarOf([model()]), Buffer.alloc(64 * 1024 * 1024, "x")]))]);
    assert.ok((await readFile((await pull(source)).path)).equals(content));
  });

  test("a layer that is compressed in another way says what to do", async () => {
    const source = await pushed(["application/vnd.oci.image.layer.v1.tar+zstd", Buffer.from("zstd")]);
    await assert.rejects(pull(source), /--compression-format gzip/);
  });
});

describe("a registry that sends something else", () => {
  let server: FileServer;

  beforeEach(async () => {
    server = await FileServer.start();
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
  });

  /** @returns the path of the layer */
  function serve(layer: Buffer, size = layer.length): string {
    const digest = `sha256:${sha256(layer)}`;
    const manifest = { layers: [{ mediaType: plain, digest, size }] };
    server.files.set("/v2/", { content: Buffer.alloc(0) });
    server.files.set("/v2/bad/manifests/v1", { content: Buffer.from(JSON.stringify(manifest)) });
    return `/v2/bad/blobs/${digest}`;
  }
  const source = () => `oci://${new URL(server.url).host}/bad:v1`;

  test("another layer than its digest says: nothing is kept", async () => {
    const layer = tarOf([model()]);
    const path = serve(layer);
    const changed = Buffer.from(layer);
    changed[layer.length - 2_000] = 7;
    server.files.set(path, { content: changed });
    assert.match(await refused(pull(source()), "damaged"), /is not what its digest says/);
  });

  test("more bytes than the manifest says: nothing is kept", async () => {
    const layer = tarOf([model()]);
    server.files.set(serve(layer, layer.length - 512), { content: layer });
    assert.match(await refused(pull(source()), "damaged"), /is not what its digest says/);
  });

  test("a layer that breaks off is begun anew, and given up after some times", async () => {
    const layer = tarOf([model()]);
    const path = serve(layer);
    server.files.set(path, { content: layer, resetAfter: 64 * 1024 });
    assert.match(await refused(pull(source()), "unreachable"), /broke off. It was tried 6 times/);
    assert.equal(server.requests.filter((request) => request.path === path).length, 6);
    const pulling = pull(source());
    server.files.set(path, { content: layer });
    assert.ok((await readFile((await pulling).path)).equals(content));
  });
});

function fixChecksum(archive: Buffer): void {
  archive.fill(" ", 148, 156);
  const sum = archive.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  archive.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
}
