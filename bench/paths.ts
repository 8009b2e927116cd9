import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { cacheFolder } from "../test/fixtures/cache.ts";

export const repository = fileURLToPath(new URL("../..", import.meta.url));

/** Models and peers that benchmarks need lie here, outside the repository. */
export const benchCache = join(cacheFolder, "bench");

/** The folder in node-llama-cpp's package that tells its llama.cpp's version and holds that version's source. */
export const llamaCppFolder = join(dirname(dirname(fileURLToPath(import.meta.resolve("node-llama-cpp")))), "llama");
