import type { ModelDefinition } from "../catalogue/definition.ts";
import type { DownloadSettings } from "./settings.ts";

export type PullPhase = "resolving" | "waiting" | "downloading" | "verifying" | "done";

export interface PullProgress {
  readonly phase: PullPhase;
  readonly file: string | undefined;
  readonly bytes: number;
  readonly totalBytes: number | undefined;
}

export interface PullRequest {
  /** The catalogue's word on what is pulled, or nothing more than where it is. */
  readonly source: string;
  readonly definition: ModelDefinition;
  readonly folder: string;
  /** How a local file gets here. */
  readonly localFile: "copy" | "link";
  /** `again` fetches even what is here. */
  readonly existing: "keep" | "again";
}

export interface Pull {
  readonly request: PullRequest;
  readonly settings: DownloadSettings;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: PullProgress) => void;
}
