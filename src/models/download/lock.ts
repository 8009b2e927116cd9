import { randomUUID } from "node:crypto";
import { link, open, readFile, rename, rm, stat, utimes, type FileHandle } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { cancelled } from "./http.ts";

const holder = z.object({ pid: z.int(), host: z.string(), token: z.string() });

type Holder = z.output<typeof holder>;

const refreshMs = 2_000;

/** A holder that has not refreshed its lock for so long is gone, wherever it ran. */
const staleMs = 10_000;

const lookAgainMs = 200;

/** One process at a time works on a file, across containers that share the folder. */
export class FileLock {
  readonly #path: string;
  readonly #token: string;
  readonly #refresh: NodeJS.Timeout;

  private constructor(path: string, token: string) {
    this.#path = path;
    this.#token = token;
    this.#refresh = setInterval(() => {
      const now = new Date();
      // Where it is gone, whoever took it is right.
      utimes(path, now, now).catch(() => undefined);
    }, refreshMs).unref();
  }

  /** @param waiting called once when somebody else has it */
  static async acquire(path: string, signal: AbortSignal, waiting: () => void): Promise<FileLock> {
    const token = randomUUID();
    for (let hasTold = false; ;) {
      if (await take(path, token)) return new FileLock(path, token);
      if (await isStale(path)) {
        await moveAway(path);
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
    // Held too long without a sign of life, it may be somebody else's by now.
    if ((await holderOf(this.#path))?.token === this.#token) await rm(this.#path, { force: true });
  }
}

async function take(path: string, token: string): Promise<boolean> {
  let file: FileHandle;
  try {
    file = await open(path, "wx");
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "EEXIST") return false;
    throw thrown;
  }
  try {
    await file.writeFile(JSON.stringify({ pid: process.pid, host: hostname(), token }));
    return true;
  } catch (thrown) {
    // On a full disk. Without a holder it would be in the way of the next one until it is stale.
    await rm(path, { force: true });
    throw thrown;
  } finally {
    await file.close();
  }
}

async function isStale(path: string): Promise<boolean> {
  const touched = await stat(path).catch(() => undefined);
  if (touched === undefined) return false;
  if (Date.now() - touched.mtimeMs > staleMs) return true;
  const found = await holderOf(path);
  return found?.host === hostname() && !isRunning(found.pid);
}

/** @returns undefined where it is being written, or gone */
async function holderOf(path: string): Promise<Holder | undefined> {
  try {
    return holder.parse(JSON.parse(await readFile(path, "utf8")));
  } catch {
    return undefined;
  }
}

/** Of several who find the same stale lock only one moves it, and what another one has taken since is put back. */
async function moveAway(path: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch {
    // Somebody else was faster.
    return;
  }
  if (!(await isStale(aside))) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown && thrown.code === "EPERM";
  }
}
