import { readdir } from "node:fs/promises";
import { join, relative } from "node:path";
import { pipeline } from "node:stream/promises";
import { run } from "node:test";
import { spec } from "node:test/reporters";
import { fileURLToPath } from "node:url";

/** Runs the tests whose path contains one of the arguments, or all of them. */

/** Each test file may start a server and models of its own. */
const concurrency = 2;
/** With containers to test, a file of tests builds images. */
const usualMinutes = process.env["LLAMAPOD_TEST_PODMAN_USER"] === undefined ? 5 : 15;
const ordinaryMinutes = process.env["SLOW_TESTS"] === "1" ? 60 : usualMinutes;
const soakMinutes = Number(process.env["SOAK_MINUTES"] ?? 0);
const fileTimeoutMs = (ordinaryMinutes + soakMinutes) * 60_000;

const folder = fileURLToPath(new URL(".", import.meta.url));
const filters = process.argv.slice(2);
const entries = await readdir(folder, { recursive: true });
const files = entries
  .filter((entry) => entry.endsWith(".test.js"))
  .filter((entry) => filters.length === 0 || filters.some((filter) => entry.includes(filter)))
  .sort()
  .map((entry) => join(folder, entry));

if (files.length === 0) {
  const among = filters.length === 0 ? "" : ` with ${filters.join(" or ")} in its path`;
  fail(`There is no test file${among} in ${relative("", folder)}.`);
} else {
  let tests = 0;
  const stream = run({ files, concurrency, timeout: fileTimeoutMs });
  // A file without a single test is reported as a test that passes, under the file's name.
  stream.on("test:pass", ({ name, details }) => {
    if (details.type !== "suite" && !files.includes(name)) tests++;
  });
  stream.on("test:fail", () => {
    process.exitCode = 1;
  });
  stream.on("end", () => {
    if (tests === 0 && process.exitCode === undefined) fail("No test ran.");
  });
  await pipeline(stream, new spec(), process.stdout, { end: false });
}

function fail(message: string): void {
  process.stderr.write(`${message}\n`);
  process.exitCode = 1;
}
