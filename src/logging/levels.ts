import type { Logger } from "pino";
import { logLevels, type LogLevel } from "../protocol/runner.ts";

/** What writes log lines: llama.cpp in the runners, and all the rest. */
export const components = ["server", "llama.cpp"] as const;

export type Component = (typeof components)[number];

/**
 * The levels of a logger and of all loggers that descend from it, which can be changed at run time. A child that is made with
 * the binding `component: "llama.cpp"`, and its own children, follow that component's level.
 */
export class LogLevels {
  readonly #levels: Record<Component, LogLevel>;
  readonly #watchers: Record<Component, Set<(level: LogLevel) => void>> = { server: new Set(), "llama.cpp": new Set() };
  readonly #loggers: Record<Component, Set<WeakRef<Logger>>> = { server: new Set(), "llama.cpp": new Set() };
  /** Every load makes loggers, for as long as the server runs: what refers to one goes with it. */
  readonly #gone = new FinalizationRegistry<WeakRef<Logger>>((reference) => {
    for (const component of components) this.#loggers[component].delete(reference);
  });

  /** @param log whose level is the server's */
  constructor(log: Logger, engineLevel: LogLevel) {
    const server = logLevels.find((level) => level === log.level) ?? "fatal";
    this.#levels = { server, "llama.cpp": engineLevel };
    this.#follow(log, "server");
  }

  get current(): Readonly<Record<Component, LogLevel>> {
    return { ...this.#levels };
  }

  set(component: Component, level: LogLevel): void {
    this.#levels[component] = level;
    for (const reference of this.#loggers[component]) {
      const logger = reference.deref();
      if (logger !== undefined) logger.level = level;
    }
    for (const watcher of this.#watchers[component]) watcher(level);
  }

  /** @param watcher told each new level @returns what ends that */
  watch(component: Component, watcher: (level: LogLevel) => void): () => void {
    this.#watchers[component].add(watcher);
    return () => {
      this.#watchers[component].delete(watcher);
    };
  }

  #follow(log: Logger, component: Component): void {
    // A logger that was made to be silent stays so.
    if (log.level === "silent") return;
    log.level = this.#levels[component];
    const reference = new WeakRef(log);
    this.#loggers[component].add(reference);
    this.#gone.register(log, reference);
    log.onChild = (child: Logger) => {
      this.#follow(child, child.bindings()["component"] === "llama.cpp" ? "llama.cpp" : component);
    };
  }
}
