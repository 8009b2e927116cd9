import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { Logger } from "pino";
import { ConfigError, type Config } from "./config.ts";
import { Metrics } from "./health/metrics/metrics.ts";
import { Probes } from "./health/probes.ts";
import { openTracing } from "./health/tracing/open.ts";
import type { Tracing } from "./health/tracing/span.ts";
import { LogLevels } from "./logging/levels.ts";
import { Catalogue } from "./models/catalogue.ts";
import { Pulls } from "./models/download/pulls.ts";
import { hasGpuDevice, isGpuExpected } from "./models/gpu.ts";
import { defaultSilence, RunnerProcess } from "./models/runner-process.ts";
import type { RunnerUser } from "./models/runner.ts";
import { modelSources } from "./models/sources.ts";
import { Pool } from "./models/pool.ts";
import { Authenticator } from "./server/auth/authenticator.ts";
import { KeyRing } from "./server/auth/keys.ts";
import { Correlations } from "./server/correlation.ts";
import { inheritedSockets } from "./server/inherited-sockets.ts";
import { Listener } from "./server/listener.ts";
import { Generations } from "./stream/generations.ts";
import { engineVersion, llamaCppVersion, version } from "./version.ts";

const drainCheckMs = 50;

/** A running server: everything put together, from the models folder to the port. */
export class Service {
  readonly url: string;
  readonly #metrics: Metrics;
  readonly #tracing: Tracing;
  readonly #catalogue: Catalogue;
  readonly #pulls: Pulls;
  readonly #pool: Pool;
  readonly #probes: Probes;
  readonly #generations: Generations;
  readonly #listener: Listener;
  readonly #drainSeconds: number;
  readonly #hurry = new AbortController();
  /** Resolves when `stop` is to wait no longer. */
  readonly #hurried: Promise<unknown> = once(this.#hurry.signal, "abort");

  private constructor(
    url: string,
    metrics: Metrics,
    tracing: Tracing,
    catalogue: Catalogue,
    pulls: Pulls,
    pool: Pool,
    probes: Probes,
    generations: Generations,
    listener: Listener,
    drainSeconds: number,
  ) {
    this.url = url;
    this.#metrics = metrics;
    this.#tracing = tracing;
    this.#catalogue = catalogue;
    this.#pulls = pulls;
    this.#pool = pool;
    this.#probes = probes;
    this.#generations = generations;
    this.#listener = listener;
    this.#drainSeconds = drainSeconds;
  }

  /**
   * Listens, and loads the active model meanwhile.
   *
   * @param onStartFailed told why the first model could not be loaded, where the server has to end then
   * @param hasGpu whether there is a GPU, which `gpu: auto` hopes for
   * @throws {Error} when it cannot listen; {LlamapodError} for a wrong model
   */
  static async start(
    config: Config,
    log: Logger,
    onStartFailed: (cause: string) => void = () => undefined,
    hasGpu = hasGpuDevice,
  ): Promise<Service> {
    const tracing = await openTracing(process.env, version, (message) => log.warn({ component: "opentelemetry" }, message));
    const logLevels = new LogLevels(log, config.llamaLogLevel);
    const auth = new Authenticator(config.apiKeysFile === undefined ? undefined : readKeys(config.apiKeysFile));
    const metrics = new Metrics({ version, nodeLlamaCpp: engineVersion, llamaCpp: llamaCppVersion });
    const catalogue = new Catalogue(modelSources(config), log);
    metrics.observeModelsYaml(() => catalogue.reading);
    await catalogue.scan();
    const silence = {
      ...defaultSilence,
      serving: config.silenceSeconds * 1_000,
      stuck: config.loadTimeoutSeconds * 1_000,
    };
    for (const name of [...config.preload, ...config.pinned]) await catalogue.find(name);
    const startRunner = (user: RunnerUser) => {
      const { gpu, threads } = config;
      const runner = new RunnerProcess({ gpu, threads, logLevel: logLevels.current["llama.cpp"] }, log, user, silence);
      const unwatch = logLevels.watch("llama.cpp", (logLevel) => {
        runner.send({ type: "log_level", logLevel });
      });
      void runner.exited.then(unwatch);
      return runner;
    };
    const poolSettings = { ...config, isGpuExpected: isGpuExpected(config.gpu, hasGpu) };
    const pool = new Pool(poolSettings, catalogue, metrics, log, startRunner);
    const pulls = new Pulls(catalogue, pool.operations, config.modelsDir, log);
    const generations = new Generations(pool, metrics, log, {
      prefixCache: config.prefixCache,
      graceMs: config.graceSeconds * 1_000,
      retentionMs: config.retentionSeconds * 1_000,
      limits: config,
    });
    const probes = new Probes();
    metrics.observeReadiness(() => probes.ready().ok);
    pool.onModelChange((status) => {
      if (!status.active) return;
      probes.activeModelChanged(status);
      const mustStart = (config.gpu === "required" || config.exitOnFailedStart) && !probes.startup().ok;
      const hasFailed = status.state === "failed" || status.state === "invalid";
      if (mustStart && hasFailed) onStartFailed(status.reason ?? "the model could not be loaded");
    });
    const { allowedHosts, allowedOrigins } = config;
    const listener = new Listener({
      version,
      pool,
      pulls,
      generations,
      metrics,
      probes,
      correlations: new Correlations(tracing),
      metricsPort: config.metricsPort,
      log,
      logLevels,
      allowedHosts,
      allowedOrigins,
      auth,
      limits: config,
    });
    const first = config.model === undefined ? catalogue.firstUsable : await catalogue.find(config.model);
    const { port, metricsPort } = await listener.listen({ ...config, inherited: inheritedSockets(process.env, process.pid) });
    if (first === undefined)
      log.warn({ folder: config.modelsDir }, "there is no model: pull one, or put a GGUF file into the models folder");
    pool.open(first);
    if (first?.isBuiltIn === true) log.info({ model: first.id }, demoNotice);
    catalogue.onChange((change) => {
      pool.catalogueChanged(change);
      if (pool.activeModel === undefined) probes.activeModelChanged(undefined);
      const newcomer = pool.activeModel === undefined ? catalogue.firstUsable : undefined;
      if (newcomer !== undefined) pool.open(newcomer);
    });
    catalogue.watch();
    const url = `http://${urlHost(config.host)}:${port}`;
    if (metricsPort !== undefined) log.info({ metrics_url: `http://${urlHost(config.host)}:${metricsPort}/metrics` }, "metrics");
    return new Service(url, metrics, tracing, catalogue, pulls, pool, probes, generations, listener, config.drainSeconds);
  }

  /** Lets running answers end, for as long as the configuration allows, then ends everything. */
  async stop(): Promise<void> {
    this.#catalogue[Symbol.dispose]();
    this.#pulls.close();
    this.#probes.draining();
    this.#pool.drain();
    this.#listener.notifyDraining(this.#drainSeconds * 1_000);
    const deadline = performance.now() + this.#drainSeconds * 1_000;
    while (this.#isBusy && performance.now() < deadline && !this.#isHurried) {
      await new Promise((resolve) => setTimeout(resolve, drainCheckMs));
    }
    // In this order: what the pool ends is still told to its readers.
    const closed = Promise.all([this.#pool.close(), this.#listener.close(deadline - performance.now())]);
    await Promise.race([closed, this.#hurried]);
    if (this.#isHurried) {
      this.#pool.kill();
      this.#listener.hurry();
    }
    await closed;
    this.#metrics.close();
    await Promise.race([this.#tracing.close(), this.#hurried]);
  }

  get #isHurried(): boolean {
    return this.#hurry.signal.aborted;
  }

  /** Whether an answer is made, or still on its way to a reader. */
  get #isBusy(): boolean {
    return this.#generations.activeCount > 0 || this.#generations.lateCount > 0 || this.#listener.bufferedBytes > 0;
  }

  /** Lets a `stop` that is under way wait no longer, whatever for. */
  hurry(): void {
    this.#hurry.abort();
  }
}

const demoNotice =
  "this is the built-in demo model, which knows a little about llamapod and nothing else; `llamapod pull qwen2.5-0.5b` gets a real one";

function readKeys(file: string): KeyRing {
  try {
    return KeyRing.parse(readFileSync(file, "utf8"));
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new ConfigError(`The file of keys ${file} cannot be used: ${reason}`);
  }
}

function urlHost(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "localhost";
  return host.includes(":") ? `[${host}]` : host;
}
