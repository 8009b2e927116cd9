import { open, readFile, rm, stat, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { cancelled } from "./http.ts";

const holder = z.object({ pid: z.int(), host: z.string() });

const refreshMs = 2_000;

/** A holder that has not refreshed its lock for so long is gone, wherever it ran. */
const staleMs = 10_000;

const lookAgainMs = 200;

/** One process at a time works on a file, across containers that share the folder. */
export class FileLock {
  readonly #path: string;
  readonly #refresh: NodeJS.Timeout;

  private constructor(path: string) {
    this.#path = path;
    this.#refresh = setInterval(() => {
      const now = new Date();
      // Where it is gone, whoever took it is right.
      utimes(path, now, now).catch(() => undefined);
    }, refreshMs).unref();
  }

  /** @param waiting called once when somebody else has it */
  static async acquire(path: string, signal: AbortSignal, waiting: () => void): Promise<FileLock> {
    for (let hasTold = false; ;) {
      if (await take(path)) return new FileLock(path);
      if (await isStale(path)) {
        await rm(path, { force: true });
        continue;
      }
      if (!hasTold) waiting();
      hasTold = true;
      await sleep(lookAgainMs, undefined, { signal }).catch(() => {
        throw cancelled();
      });
    }
  }

  async release(): Promise<void> {
    clearInterval(this.#refresh);
    await rm(this.#path, { force: true });
  }
}

async function take(path: string): Promise<boolean> {
  try {
    await using file = await open(path, "wx");
    await file.writeFile(JSON.stringify({ pid: process.pid, host: hostname() }));
    return true;
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "EEXIST") return false;
    throw thrown;
  }
}

async function isStale(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return false;
  if (Date.now() - found.mtimeMs > staleMs) return true;
  try {
    const { pid, host } = holder.parse(JSON.parse(await readFile(path, "utf8")));
    return host === hostname() && !isRunning(pid);
  } catch {
    // It is being written, or it is gone.
    return false;
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown && thrown.code === "EPERM";
  }
}
