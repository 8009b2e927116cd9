import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** A file that takes longer hangs the loader. */
const patienceMs = 30_000;

/** The real loader, in a process that is started again when a file has killed it. */
export class Loader implements AsyncDisposable {
  #child: ChildProcess | undefined;

  async load(path: string): Promise<"loaded" | "refused" | "died"> {
    const child = await this.#ready();
    const watchdog = setTimeout(() => child.kill("SIGKILL"), patienceMs);
    const told = await new Promise<unknown>((resolve) => {
      const tell = (message: unknown) => {
        child.off("message", tell).off("exit", tell);
        resolve(message);
      };
      child.on("message", tell).on("exit", tell);
      child.send(path);
    });
    clearTimeout(watchdog);
    if (told === "loaded" || told === "refused") return told;
    this.#child = undefined;
    return "died";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }

  async #ready(): Promise<ChildProcess> {
    if (this.#child !== undefined) return this.#child;
    const child = fork(fileURLToPath(new URL("./loader.js", import.meta.url)), {
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      // ggml asks a debugger for one, which takes seconds.
      env: { ...process.env, GGML_NO_BACKTRACE: "1" },
    });
    await once(child, "message");
    this.#child = child;
    return child;
  }
}
