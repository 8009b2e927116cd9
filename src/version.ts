import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { z } from "zod";

const packageFile = new URL("../../package.json", import.meta.url);

const described = z
  .object({ version: z.string(), dependencies: z.object({ "node-llama-cpp": z.string() }) })
  .parse(JSON.parse(readFileSync(packageFile, "utf8")));

/** Of llamapod, as released. */
export const { version } = described;

/** Of node-llama-cpp, which is pinned exactly. */
export const engineVersion = described.dependencies["node-llama-cpp"];

const engineProgram = createRequire(import.meta.url).resolve("node-llama-cpp");

/** Of llama.cpp, as the prebuilt binaries of node-llama-cpp are made of it. Read from its files: the server loads none of them. */
export const { release: llamaCppVersion } = z
  .object({ release: z.string() })
  .parse(JSON.parse(readFileSync(join(dirname(engineProgram), "..", "llama", "binariesGithubRelease.json"), "utf8")));
