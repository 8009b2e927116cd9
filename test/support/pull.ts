import type { ModelDefinition } from "../../src/models/catalogue.ts";
import { pullModel, type PulledModel, type PullRequest } from "../../src/models/download/pull.ts";

/** Pulls as the server does, but without pauses between tries, and in ranges so small that tiny models have several. */
export function pullInto(
  folder: string,
  source: string,
  existing: PullRequest["existing"],
  definition: ModelDefinition = {},
): Promise<PulledModel> {
  return pullModel({
    request: { source, definition, folder, localFile: "copy", existing },
    settings: {
      huggingFace: new URL("https://huggingface.co"),
      huggingFaceToken: undefined,
      connections: 2,
      rangeBytes: 256 * 1024,
      retryPauseMs: 1,
    },
    signal: new AbortController().signal,
    onProgress: () => undefined,
  });
}
