import type { Logger } from "pino";
import type { Probes } from "../health/probes.ts";
import type { Metrics } from "../health/metrics.ts";
import type { Pulls } from "../models/download/pulls.ts";
import type { Pool } from "../models/pool.ts";
import type { Generations } from "../stream/generations.ts";

/** What the routes work with. Made once, in `serve`. */
export interface ServerContext {
  readonly version: string;
  readonly pool: Pool;
  readonly pulls: Pulls;
  readonly generations: Generations;
  readonly metrics: Metrics;
  readonly probes: Probes;
  readonly log: Logger;
  readonly allowedHosts: readonly string[];
  readonly allowedOrigins: readonly string[];
  /** Bytes of a request body or a WebSocket message, at most. */
  readonly maxMessageBytes: number;
}

/** Everyone, for as long as there are no keys to tell clients apart. */
export const anonymous = "anonymous";
