import { existsSync } from "node:fs";
import type { PrepareCommand } from "../protocol/runner.ts";

/** Whether NVIDIA's driver is there, or its device was given to the container. Of others llama.cpp itself has to tell. */
export function hasGpuDevice(): boolean {
  return existsSync("/dev/nvidiactl");
}

/** Whether a GPU is to compute: because one is demanded, or because one is there and nobody has said no to it. */
export function isGpuExpected(mode: PrepareCommand["gpu"], hasDevice: () => boolean): boolean {
  return mode === "required" || (mode === "auto" && hasDevice());
}
