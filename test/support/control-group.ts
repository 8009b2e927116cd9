import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";

const controller = "/sys/fs/cgroup/memory";
/** Why not, or false. */
export const cannotLimit =
  process.getuid?.() === 0 && existsSync(`${controller}/cgroup.procs`)
    ? false
    : "NOT TESTED: it takes root and the memory controller of cgroup v1 to limit a process for real";

/** Puts a process, and those that it starts, into a group that may take so many bytes. */
export function limited(pid: number, bytes: number): Disposable {
  const folder = `${controller}/llamapod-test-${pid}`;
  mkdirSync(folder);
  writeFileSync(`${folder}/memory.limit_in_bytes`, String(Math.round(bytes)));
  writeFileSync(`${folder}/cgroup.procs`, String(pid));
  return {
    [Symbol.dispose]: () => {
      for (const member of readFileSync(`${folder}/cgroup.procs`, "latin1").split("\n")) {
        if (member !== "") writeFileSync(`${controller}/cgroup.procs`, member);
      }
      rmdirSync(folder);
    },
  };
}
