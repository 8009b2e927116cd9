import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { FileLock } from "../../src/models/download/lock.ts";

describe("the lock of a download", () => {
  let folder: string;
  let path: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "llamapod-lock-"));
    path = join(folder, "m.gguf.lock");
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  const never = new AbortController().signal;
  const take = () => FileLock.acquire(path, never, () => undefined);

  test("of many who find a dead holder's lock, one at a time has it", async () => {
    // No process has this number: Linux ends before it.
    await writeFile(path, JSON.stringify({ pid: 2 ** 30, host: hostname(), token: "of the dead" }));
    let holders = 0;
    await Promise.all(
      Array.from({ length: 12 }, async () => {
        const lock = await take();
        assert.equal(++holders, 1);
        await new Promise((resolve) => setImmediate(resolve));
        holders--;
        await lock.release();
      }),
    );
    assert.deepEqual(await readdir(folder), []);
  });

  test("who was taken for dead does not remove the lock of who came after", async () => {
    const first = await take();
    await writeFile(path, JSON.stringify({ pid: process.pid, host: hostname(), token: "of another" }));
    await first.release();
    assert.deepEqual(await readdir(folder), ["m.gguf.lock"]);
  });
});
