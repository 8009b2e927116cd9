/**
 * Brings a fresh clone to where it runs: installs what package-lock.json pins, builds, and puts the chat page together. What is
 * up to date is skipped, so every npm script starts with it. It has no dependencies, as it runs before there are any.
 *
 * `--production` installs what the server needs at run time only, and builds nothing.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const production = process.argv.includes("--production");
const oldestNode = [20, 19];

class SetupError extends Error {}

try {
  process.chdir(root);
  checkNode();
  install();
  if (!production) {
    build();
    assemblePage();
  }
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`\nsetup: ${error.message}\n`);
  process.exit(1);
}

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > oldestNode[0] || (major === oldestNode[0] && minor >= oldestNode[1])) return;
  throw new SetupError(
    `Node.js ${process.versions.node} is too old: ${oldestNode.join(".")} or newer is needed. Get it from https://nodejs.org/ ` +
      "or with your system's package manager, and try again.",
  );
}

function install() {
  const platforms = platformPackages();
  const stamp = join("node_modules", ".llamapod-setup");
  const wanted = hash(readFileSync("package.json"), readFileSync("package-lock.json"), platforms.join(), String(production));
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  // It belongs to the checkout it leads to; installing through the link would pull it from under that one.
  if (lstatSync("node_modules", { throwIfNoEntry: false })?.isSymbolicLink()) return;

  progress("installing packages");
  // Left to itself npm would fetch node-llama-cpp's binaries for every kind of GPU: 669 MB.
  const common = ["--ignore-scripts", "--omit=optional", production ? "--omit=dev" : "--include=dev", "--no-audit", "--no-fund"];
  npm(["ci", ...common]);
  progress(`installing ${platforms.join(", ")}`);
  // With the lock file, or npm would lay out the other packages anew; --no-save leaves the file as it is.
  npm(["install", "--no-save", ...common, ...platforms]);
  for (const name of platforms) {
    const folder = join("node_modules", name.slice(0, name.lastIndexOf("@")));
    if (!existsSync(folder))
      throw new SetupError(`npm reported success, but ${folder} is missing. Remove node_modules and try again.`);
  }
  if (production) leaveOutCopies();
  writeFileSync(stamp, wanted);
}

/** OpenTelemetry's packages bring each module three times, for bundlers and browsers too, with source maps: 16 MB of 18. */
function leaveOutCopies() {
  const folder = join("node_modules", "@opentelemetry");
  const unused = /(^|[\\/])(esm|esnext)$|\.(map|mjs|d\.[cm]?ts)$|[\\/](experimental_|index-incubating)[^\\/]*$/;
  for (const path of readdirSync(folder, { recursive: true })) {
    if (unused.test(path)) rmSync(join(folder, path), { recursive: true, force: true });
  }
}

/** node-llama-cpp's prebuilt llama.cpp for this machine, at the version of node-llama-cpp itself. */
function platformPackages() {
  const kind = `${process.platform}-${process.arch}`;
  const names = {
    "linux-x64": ["linux-x64"],
    "linux-arm64": ["linux-arm64"],
    "linux-arm": ["linux-armv7l"],
    "darwin-arm64": ["mac-arm64-metal"],
    "darwin-x64": ["mac-x64"],
    "win32-x64": ["win-x64"],
    "win32-arm64": ["win-arm64"],
  }[kind];
  if (names === undefined) {
    throw new SetupError(`there is no prebuilt llama.cpp for ${kind}; it exists for Linux, macOS and Windows on x64 and arm64.`);
  }
  if (kind === "linux-x64" && wantsCuda()) names.push("linux-x64-cuda", "linux-x64-cuda-ext");
  const { version } = JSON.parse(readFileSync("package-lock.json", "utf8")).packages["node_modules/node-llama-cpp"];
  return names.map((name) => `@node-llama-cpp/${name}@${version}`);
}

function wantsCuda() {
  if (process.env.LLAMAPOD_GPU === "required") return true;
  if (process.env.LLAMAPOD_GPU === "off") return false;
  return ["/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg"].some((path) => existsSync(path));
}

function npm(args) {
  // Under `npm run`, this very npm; a bare `npm` is a script of the shell's on Windows.
  const cli = process.env.npm_execpath;
  const result = cli?.endsWith("npm-cli.js")
    ? spawnSync(process.execPath, [cli, ...args], { encoding: "utf8" })
    : spawnSync("npm", args, { encoding: "utf8", shell: process.platform === "win32" });
  if (result.status === 0) return;
  const output = `${result.error?.message ?? ""}${result.stdout ?? ""}${result.stderr ?? ""}`;
  process.stderr.write(`${output.trim().split("\n").slice(0, 25).join("\n")}\n`);
  throw new SetupError(`\`npm ${args[0]}\` failed, as npm says above. ${remedy(output)}`);
}

function remedy(output) {
  const remedies = [
    [
      /ENOTFOUND|ETIMEDOUT|ECONNREFUSED|ECONNRESET|EAI_AGAIN/,
      "Is the network there, and does npm need a proxy (npm config set proxy)?",
    ],
    [/ENOSPC/, "The disk is full: 700 MB are needed, with CUDA 1.3 GB."],
    [/EACCES|EPERM/, "Files here belong to another user: remove node_modules as that one, and do not use sudo."],
    [/ENOENT|not found/, "npm is missing: it comes with Node.js, on some systems as a package of its own."],
    [/EUSAGE|in sync/, "package.json and package-lock.json do not fit together: run `npm install --package-lock-only`."],
    [/EINTEGRITY/, "A package was damaged on the way: run `npm cache clean --force` and try again."],
  ];
  return remedies.find(([pattern]) => pattern.test(output))?.[1] ?? "Try again; if it fails again, remove node_modules first.";
}

function build() {
  const stamp = join("dist", ".llamapod-build");
  const sources = ["src", "test", "bench"].flatMap((folder) => files(folder));
  const inputs = [...sources, "tsconfig.json", "tsconfig.base.json", join("node_modules", ".package-lock.json")];
  const wanted = hash(...inputs.map((path) => `${path} ${modified(path)}`));
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;

  progress("building");
  removeOrphans(new Set(sources));
  const result = spawnSync(process.execPath, [join("node_modules", "typescript", "bin", "tsc"), "-b"], {
    stdio: ["ignore", 2, 2],
  });
  if (result.status !== 0) throw new SetupError("the code does not compile, as tsc says above.");
  writeFileSync(stamp, wanted);
}

/** What was built from a file that is gone: a removed test would go on running. */
function removeOrphans(sources) {
  for (const path of files("dist")) {
    const source = /^dist[\\/](.+)\.(?:js|js\.map|d\.ts)$/.exec(path)?.[1];
    const isVendored = path.includes(`${sep}vendor${sep}`);
    if (source !== undefined && !isVendored && !sources.has(`${source}.ts`)) rmSync(path);
  }
}

/** The page is served as it lies in dist/src/page: what tsc made, static files, and the two libraries it uses. */
function assemblePage() {
  const page = join("src", "page");
  const modules = "node_modules";
  const copies = [
    ...files(page)
      .filter((path) => !/\.ts$|tsconfig\.json$/.test(path))
      .map((path) => [path, join("dist", path)]),
    [join(modules, "marked", "lib", "marked.esm.js"), join("dist", page, "vendor", "marked.js")],
    [join(modules, "marked", "LICENSE"), join("dist", page, "vendor", "marked.LICENSE.txt")],
    [join(modules, "dompurify", "dist", "purify.es.mjs"), join("dist", page, "vendor", "purify.js")],
    [join(modules, "dompurify", "LICENSE"), join("dist", page, "vendor", "purify.LICENSE.txt")],
  ];
  for (const [from, to] of copies) {
    if (existsSync(to) && modified(to) === modified(from)) continue;
    mkdirSync(dirname(to), { recursive: true });
    cpSync(from, to, { preserveTimestamps: true });
  }
}

function files(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Whole milliseconds, which is what survives a copy. */
function modified(path) {
  const { mtimeMs, size } = statSync(path);
  return `${Math.floor(mtimeMs)} ${size}`;
}

function hash(...parts) {
  const digest = createHash("sha256");
  for (const part of parts) digest.update(part).update("\0");
  return digest.digest("hex");
}

function progress(text) {
  process.stderr.write(`setup: ${text}\n`);
}
