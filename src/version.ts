import { readFileSync } from "node:fs";
import { z } from "zod";

const packageFile = new URL("../../package.json", import.meta.url);

const described = z
  .object({ version: z.string(), dependencies: z.object({ "node-llama-cpp": z.string() }) })
  .parse(JSON.parse(readFileSync(packageFile, "utf8")));

/** Of llamapod, as released. */
export const { version } = described;

/** Of node-llama-cpp, which is pinned exactly. */
export const engineVersion = described.dependencies["node-llama-cpp"];
