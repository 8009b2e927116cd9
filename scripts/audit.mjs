/**
 * Fails when a known advisory concerns a package that package-lock.json pins: of moderate severity or above in what runs in
 * production, high or above in what only builds and tests. Not every registry knows advisories; one that does not is told of,
 * loudly, and fails nothing.
 */
import { spawnSync } from "node:child_process";

const levels = ["info", "low", "moderate", "high", "critical"];
const audits = [
  { what: "the production dependencies", from: "moderate", args: ["--omit=dev"] },
  { what: "all dependencies", from: "high", args: [] },
];

for (const { what, from, args } of audits) {
  const report = audit(args);
  if (report.vulnerabilities === undefined) withoutReport(report);
  const found = Object.values(report.vulnerabilities).filter(({ severity }) => levels.indexOf(severity) >= levels.indexOf(from));
  for (const { name, severity, range, via } of found) say(`${severity}: ${name} ${range}: ${via.map(reason).join("; ")}`);
  if (found.length > 0) process.exitCode = 1;
  say(`${found.length} of ${what} have an advisory of ${from} severity or above`);
}

function audit(args) {
  const all = ["audit", "--json", "--package-lock-only", ...args];
  // Under `npm run`, this very npm; a bare `npm` is a script of the shell's on Windows.
  const cli = process.env.npm_execpath;
  const { stdout, stderr } = cli?.endsWith("npm-cli.js")
    ? spawnSync(process.execPath, [cli, ...all], { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 })
    : spawnSync("npm", all, { encoding: "utf8", maxBuffer: 64 * 1024 * 1024, shell: process.platform === "win32" });
  try {
    return JSON.parse(stdout);
  } catch {
    process.stderr.write(stderr);
    say("npm made no report, as it says above.");
    process.exit(1);
  }
}

/** An advisory, or the name of a dependency that has one. */
function reason(via) {
  return typeof via === "string" ? `through ${via}` : `${via.title} (${via.url})`;
}

function withoutReport({ statusCode, error }) {
  if (![404, 405, 501].includes(statusCode)) {
    say(`the registry could not be asked: ${error?.summary || `status ${statusCode ?? "none"}`}`);
    process.exit(1);
  }
  say("");
  say("*** NOTHING WAS AUDITED ***");
  say(
    `The registry that npm uses here tells of no advisories (status ${statusCode}). Run \`npm run audit\` where npm uses one that does.`,
  );
  say("");
  // With what has been found before.
  process.exit();
}

function say(text) {
  process.stderr.write(text === "" ? "\n" : `audit: ${text}\n`);
}
