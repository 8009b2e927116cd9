import type { Logger } from "pino";
import type { Config } from "./config.ts";
import { Metrics } from "./health/metrics.ts";
import { Probes } from "./health/probes.ts";
import { Catalogue } from "./models/catalogue.ts";
import { Pulls } from "./models/download/pulls.ts";
import { Pool } from "./models/pool.ts";
import { LlamapodError } from "./protocol/errors.ts";
import { Listener } from "./server/listener.ts";
import { Generations } from "./stream/generations.ts";
import { version } from "./version.ts";

const drainCheckMs = 50;

/** A running server: everything put together, from the models folder to the port. */
export class Service {
  readonly url: string;
  readonly #catalogue: Catalogue;
  readonly #pulls: Pulls;
  readonly #pool: Pool;
  readonly #probes: Probes;
  readonly #generations: Generations;
  readonly #listener: Listener;
  readonly #drainSeconds: number;
  #hurry = false;

  private constructor(
    url: string,
    catalogue: Catalogue,
    pulls: Pulls,
    pool: Pool,
    probes: Probes,
    generations: Generations,
    listener: Listener,
    drainSeconds: number,
  ) {
    this.url = url;
    this.#catalogue = catalogue;
    this.#pulls = pulls;
    this.#pool = pool;
    this.#probes = probes;
    this.#generations = generations;
    this.#listener = listener;
    this.#drainSeconds = drainSeconds;
  }

  /** Listens, and loads the active model meanwhile. @throws {Error} when it cannot listen; {LlamapodError} for a wrong model */
  static async start(config: Config, log: Logger): Promise<Service> {
    const metrics = new Metrics(version);
    const catalogue = new Catalogue([{ folder: config.modelsDir, isBuiltIn: false }], log);
    await catalogue.scan();
    const pool = new Pool(config, catalogue, metrics, log);
    const pulls = new Pulls(catalogue, pool.operations, config.modelsDir, log);
    const generations = new Generations(pool, metrics, {
      graceMs: config.graceSeconds * 1_000,
      retentionMs: config.retentionSeconds * 1_000,
    });
    const probes = new Probes();
    pool.onModelChange((status) => {
      if (status.active) probes.activeModelChanged(status);
    });
    const { allowedHosts, allowedOrigins, maxMessageBytes } = config;
    const listener = new Listener({
      version,
      pool,
      pulls,
      generations,
      metrics,
      probes,
      log,
      allowedHosts,
      allowedOrigins,
      maxMessageBytes,
    });
    const first = config.model === undefined ? firstUsable(catalogue) : await catalogue.find(config.model);
    const port = await listener.listen(config.host, config.port);
    if (first === undefined)
      log.warn({ folder: config.modelsDir }, "there is no model: pull one, or put a GGUF file into the models folder");
    pool.open(first);
    catalogue.onChange((change) => {
      pool.catalogueChanged(change);
      const newcomer = pool.activeModel === undefined ? firstUsable(catalogue) : undefined;
      if (newcomer !== undefined) pool.open(newcomer);
    });
    catalogue.watch();
    const url = `http://${urlHost(config.host)}:${port}`;
    return new Service(url, catalogue, pulls, pool, probes, generations, listener, config.drainSeconds);
  }

  /** Lets running answers end, for as long as the configuration allows, then ends everything. */
  async stop(): Promise<void> {
    this.#catalogue[Symbol.dispose]();
    this.#pulls.close();
    this.#probes.draining();
    this.#pool.drain();
    this.#listener.notifyDraining(this.#drainSeconds * 1_000);
    const deadline = performance.now() + this.#drainSeconds * 1_000;
    while (this.#generations.activeCount > 0 && performance.now() < deadline && !this.#hurry) {
      await new Promise((resolve) => setTimeout(resolve, drainCheckMs));
    }
    // In this order: what the pool ends is still told to its readers.
    await Promise.all([this.#pool.close(), this.#listener.close()]);
  }

  /** Lets a `stop` that is under way wait no longer. */
  hurry(): void {
    this.#hurry = true;
  }
}

function firstUsable(catalogue: Catalogue) {
  return catalogue.entries.find(({ header }) => !(header instanceof LlamapodError));
}

function urlHost(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "localhost";
  return host.includes(":") ? `[${host}]` : host;
}
