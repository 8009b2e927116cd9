import type { Logger } from "pino";
import type { LogLevels } from "../logging/levels.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Probes } from "../health/probes.ts";
import type { Metrics } from "../health/metrics/metrics.ts";
import type { Pulls } from "../models/download/pulls.ts";
import type { Pool } from "../models/pool.ts";
import type { Generations } from "../stream/generations.ts";
import type { Authenticator } from "./auth/authenticator.ts";
import type { Correlations } from "./correlation.ts";

/** What the routes work with. Made once, in `serve`. */
export interface ServerContext {
  readonly version: string;
  readonly pool: Pool;
  readonly pulls: Pulls;
  readonly generations: Generations;
  readonly metrics: Metrics;
  readonly probes: Probes;
  readonly correlations: Correlations;
  /** `/metrics` is on a port of its own. */
  readonly metricsPort: number | undefined;
  readonly log: Logger;
  readonly logLevels: LogLevels;
  readonly allowedHosts: readonly string[];
  readonly allowedOrigins: readonly string[];
  readonly auth: Authenticator;
  readonly limits: Limits;
}
