import { homedir } from "node:os";
import { join } from "node:path";
import { readFile } from "node:fs/promises";
import { DownloadError } from "./errors.ts";

/** Where downloads come from, and with what rights. */
export interface DownloadSettings {
  readonly huggingFace: URL;
  readonly huggingFaceToken: string | undefined;
  /** Ranges of one file that are fetched at the same time. */
  readonly connections: number;
  /** Length of one range, in bytes. */
  readonly rangeBytes: number;
  /** Before the first repetition of what failed, in milliseconds; each further pause is twice as long. */
  readonly retryPauseMs: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** As the tools of Hugging Face have it: `HF_ENDPOINT`, `HF_TOKEN`, and the token that they keep. @throws {DownloadError} `bad_target` */
export async function downloadSettings(environment: Environment): Promise<DownloadSettings> {
  const endpoint = nonEmpty(environment["HF_ENDPOINT"]) ?? "https://huggingface.co";
  if (!URL.canParse(endpoint)) throw new DownloadError("bad_target", `HF_ENDPOINT is ${endpoint}, which is no address.`);
  return {
    huggingFace: new URL(endpoint),
    huggingFaceToken: nonEmpty(environment["HF_TOKEN"]) ?? (await keptToken(environment)),
    connections: 4,
    rangeBytes: 64 * 1024 * 1024,
    retryPauseMs: 250,
  };
}

async function keptToken(environment: Environment): Promise<string | undefined> {
  const home = nonEmpty(environment["HF_HOME"]) ?? join(homedir(), ".cache", "huggingface");
  const path = nonEmpty(environment["HF_TOKEN_PATH"]) ?? join(home, "token");
  // Most machines have none.
  const text = await readFile(path, "utf8").catch(() => "");
  return nonEmpty(text.trim());
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === "" ? undefined : text;
}
