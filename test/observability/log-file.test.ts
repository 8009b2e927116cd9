import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mock, test } from "node:test";
import { LogFile } from "../../src/logging/log-file.ts";
import { until } from "../support/processes.ts";

test("a log file that cannot be written goes on when it can be, and says how many lines were left out", async () => {
  const folder = await mkdtemp(join(tmpdir(), "llamapod-log-file-"));
  const path = join(folder, "llamapod.log");
  // It cannot be put aside while that is there.
  await mkdir(join(`${path}.1`, "in-the-way"), { recursive: true });
  let now = 0;
  mock.method(performance, "now", () => now);
  const troubles: Error[] = [];
  const file = new LogFile(path, { bytes: 2_000, count: 1 }, (error) => void troubles.push(error));
  file.write(`{"msg":"${"x".repeat(2_000)}"}\n`);
  await until(() => troubles.length > 0);
  file.write('{"msg":"left out"}\n');
  // There is room again. A disk that was full may have taken a part of a line.
  await writeFile(path, '{"msg":"ha');
  now += 10_000;
  const lines = async (name: string) => (await readFile(name, "utf8")).trimEnd().split("\n");
  await until(async () => {
    file.write('{"msg":"again"}\n');
    return (await lines(path)).at(-1)?.includes("again") === true;
  });
  await file.close();
  file.write('{"msg":"too late"}\n');

  assert.match(String(troubles), /rename.*llamapod\.log\.1/);
  assert.equal(troubles.length, 1);
  const [half, first = "", ...rest] = await lines(path);
  assert.equal(half, '{"msg":"ha');
  const { level, msg, leftOut } = JSON.parse(first) as { level: number; msg: string; leftOut: number };
  assert.equal(level, 40);
  assert.match(msg, /could not be written: up to \d+ lines were left out/);
  assert.ok(leftOut >= 2, `${leftOut} lines`);
  assert.deepEqual(new Set(rest), new Set(['{"msg":"again"}']));
  mock.restoreAll();
  await rm(folder, { recursive: true });
});
