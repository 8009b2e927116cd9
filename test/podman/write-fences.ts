import { appendFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { collectBlocks, filledIn } from "./fences.ts";

/**
 * `node write-fences.js FOLDER`: writes what documents.test.ts cannot carry out, and a machine with systemd, Podman 5 and a registry can, for the
 * scenarios: a file for each heading, such as `compose.md#keys`, with a command a line.
 */
const [, , folder = ""] = process.argv;
await mkdir(folder);
for (const { needs, anchor, commands } of await collectBlocks()) {
  if (needs === "anywhere" || needs === "hardware") continue;
  await appendFile(join(folder, anchor), commands.map((command) => `${filledIn(command)}\n`).join(""));
}
