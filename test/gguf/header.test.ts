import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { parseGgufHeader, readGgufHeader } from "../../src/models/gguf/header.ts";
import { EndOfBytes, InvalidHeader } from "../../src/models/gguf/reader.ts";
import { hostileFile, hostileKinds, type HostileKind } from "../fixtures/hostile.ts";
import { families, tinyModel } from "../fixtures/tiny-models.ts";

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "llamapod-gguf-"));
});
after(() => rm(folder, { recursive: true }));

test("every tiny model is read, with its architecture and its template", async () => {
  for (const family of families) {
    const header = await readGgufHeader(await tinyModel(family));
    assert.equal(header.architecture, family);
    assert.equal(typeof header.metadata.get("tokenizer.chat_template"), "string");
  }
});

/** Their headers are in order; what is wrong with them only shows when llama.cpp, or the template, is run. */
const runnersOwn: readonly HostileKind[] = [
  "unknown-architecture",
  "zero-heads-by-layer",
  "endless-template",
  "memory-template",
  "broken-template",
];

for (const kind of hostileKinds) {
  const isRefused = !runnersOwn.includes(kind);
  test(`a file that is hostile by ${kind} is ${isRefused ? "refused, with its name and the reason" : "left to the runner"}`, async () => {
    const path = await hostileFile(kind, folder);
    if (!isRefused) {
      await readGgufHeader(path);
      return;
    }
    await assert.rejects(readGgufHeader(path), ({ code, message }: { code?: string; message: string }) => {
      assert.equal(code, "model_file_invalid");
      assert.match(message, /^[\w.-]+\.gguf is not a usable GGUF file: .{10,}\.$/);
      return true;
    });
  });
}

test("a file that is not there", async () => {
  await assert.rejects(readGgufHeader(join(folder, "nowhere.gguf")), {
    code: "model_load_failed",
    message: /^nowhere\.gguf.*ENOENT/,
  });
});

test("bytes that were changed, cut or made up give a header or a reason, and nothing else", async () => {
  const original = await readFile(await tinyModel("gemma2"));
  const headerBytes = 24 * 1024;
  const changes = fc.array(fc.tuple(fc.nat({ max: headerBytes }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 6 });
  const parse = (bytes: Buffer, fileBytes: number) => {
    try {
      parseGgufHeader(bytes, fileBytes);
    } catch (thrown) {
      assert.ok(thrown instanceof EndOfBytes || thrown instanceof InvalidHeader, String(thrown));
    }
  };
  fc.assert(
    fc.property(changes, fc.nat({ max: headerBytes }), (edits, length) => {
      const bytes = Buffer.from(original);
      for (const [position, value] of edits) bytes[position] = value;
      parse(bytes, bytes.length);
      parse(bytes.subarray(0, length), bytes.length);
    }),
    { numRuns: 400 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (made) => {
      parse(Buffer.concat([Buffer.from("GGUF\x03\0\0\0"), made]), 1_000);
    }),
    { numRuns: 400 },
  );
});

test("a huge claim costs no memory", () => {
  const claims = Buffer.alloc(24);
  claims.write("GGUF");
  claims.writeUInt32LE(3, 4);
  claims.writeBigUInt64LE(1n << 62n, 8);
  claims.writeBigUInt64LE(1n << 62n, 16);
  const before = process.memoryUsage().arrayBuffers;
  assert.throws(() => parseGgufHeader(claims, 24), InvalidHeader);
  assert.ok(process.memoryUsage().arrayBuffers - before < 1024 * 1024);
});
