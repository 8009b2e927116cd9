import { basename } from "node:path";

/** What the benchmark needs to know about a server: how it is started, and what it is. */

export const serverNames = ["llamapod", "llama-server"] as const;
export type ServerName = (typeof serverNames)[number];

export interface ServerSettings {
  readonly modelPath: string;
  readonly threads: number;
  readonly slots: number;
  /** Tokens per slot. */
  readonly contextSize: number;
  /** Where the arithmetic is done: on a GPU or, even if there is one, on the processor. */
  readonly device: Device;
}

export type Device = "cpu" | "gpu";

export interface Server {
  readonly name: ServerName;
  readonly version: string;
  /** Answers 200 once the model is loaded. */
  readonly readyPath: string;
  command(settings: ServerSettings, port: number): Command;
}

/** The model's name in requests: llamapod's, which llama-server does not look at, so that both get the same bytes. */
export function modelName({ modelPath }: Pick<ServerSettings, "modelPath">): string {
  return basename(modelPath)
    .replace(/\.gguf$/i, "")
    .toLowerCase();
}

export interface Command {
  readonly program: string;
  readonly arguments: readonly string[];
}
