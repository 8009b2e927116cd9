import type { Logger } from "pino";
import { logLevels } from "../protocol/runner.ts";

export type Level = (typeof logLevels)[number];

/** What writes log lines: llama.cpp in the runners, and all the rest. */
export const components = ["server", "llama.cpp"] as const;

export type Component = (typeof components)[number];

/**
 * The levels of a logger and of all loggers that descend from it, which can be changed at run time. A child that is made with
 * the binding `component: "llama.cpp"`, and its own children, follow that component's level.
 */
export class LogLevels {
  readonly #levels: Record<Component, Level>;
  readonly #loggers: Record<Component, Set<WeakRef<Logger>>> = { server: new Set(), "llama.cpp": new Set() };
  /** Every load makes loggers, for as long as the server runs: what refers to one goes with it. */
  readonly #gone = new FinalizationRegistry<WeakRef<Logger>>((reference) => {
    for (const component of components) this.#loggers[component].delete(reference);
  });

  /** @param log whose level is the server's */
  constructor(log: Logger, engineLevel: Level) {
    const server = logLevels.find((level) => level === log.level) ?? "fatal";
    this.#levels = { server, "llama.cpp": engineLevel };
    this.#follow(log, "server");
  }

  get current(): Readonly<Record<Component, Level>> {
    return { ...this.#levels };
  }

  set(component: Component, level: Level): void {
    this.#levels[component] = level;
    for (const reference of this.#loggers[component]) {
      const logger = reference.deref();
      if (logger !== undefined) logger.level = level;
    }
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
