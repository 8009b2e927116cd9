import { spawnSync } from "node:child_process";

/** @returns a command that runs another one, its further arguments, with a disk of so many bytes mounted at a folder */
export function onSmallDisk(folder: string, sizeBytes: number): string[] {
  return inNamespace(`mount -t tmpfs -o size=${sizeBytes} none '${folder}' && exec "$@"`);
}

/** Like `onSmallDisk`, but after the command has failed there is plenty of room, and it runs again. */
export function onDiskThatGrows(folder: string, sizeBytes: number): string[] {
  const grow = `mount -o remount,size=100m '${folder}'`;
  return inNamespace(`mount -t tmpfs -o size=${sizeBytes} none '${folder}' || exit; "$@" || ${grow} && exec "$@"`);
}

/** Mounting needs a user namespace of one's own, which containers do not always give. */
export const hasSmallDisks = spawnSync("unshare", ["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0;

function inNamespace(script: string): string[] {
  return ["unshare", "-rm", "sh", "-c", script, "sh"];
}
