/** What a client may use, each a setting of the same name. The WebSocket's `hello` tells them in snake case. */
export interface Limits {
  readonly maxMessageBytes: number;
  readonly maxFragments: number;
  readonly maxMessagesPerSecond: number;
  readonly maxConnections: number;
  readonly maxConnectionsPerClient: number;
  readonly maxGenerations: number;
  readonly maxGenerationsPerClient: number;
  readonly maxQueue: number;
  readonly maxQueuePerClient: number;
  readonly contextSize: number;
  readonly maxMessages: number;
  readonly maxTokens: number;
  readonly maxStopStrings: number;
  readonly maxSchemaBytes: number;
  readonly graceSeconds: number;
  readonly maxGraceSeconds: number;
  readonly retentionSeconds: number;
  readonly maxLogBytes: number;
  readonly maxTotalLogBytes: number;
  readonly maxKeptAnswers: number;
  readonly maxBufferedBytes: number;
  readonly stallSeconds: number;
  readonly heartbeatSeconds: number;
  readonly idleSeconds: number;
  readonly headerSeconds: number;
  readonly bodySeconds: number;
  readonly drainSeconds: number;
}

/** What happens beyond each limit: an error code, an HTTP status that Node.js gives, a close code, or several of them. */
export const beyond = {
  maxMessageBytes: "`request_too_large`, 1009",
  maxFragments: "1008",
  maxMessagesPerSecond: "`too_many_messages`, 4429",
  maxConnections: "`too_many_connections`",
  maxConnectionsPerClient: "`connection_share_exceeded`",
  maxGenerations: "`too_many_generations`",
  maxGenerationsPerClient: "`generation_share_exceeded`",
  maxQueue: "`overloaded`",
  maxQueuePerClient: "`queue_share_exceeded`",
  contextSize: "`context_length_exceeded`",
  maxMessages: "`conversation_too_long`",
  maxTokens: "`max_tokens_exceeded`",
  maxStopStrings: "`too_many_stop_strings`",
  maxSchemaBytes: "`schema_too_large`",
  graceSeconds: "`done`, `cancelled`",
  maxGraceSeconds: "`grace_too_long`",
  retentionSeconds: "`resume_expired`",
  maxLogBytes: "`answer_too_long`",
  maxTotalLogBytes: "`log_memory_full`",
  maxKeptAnswers: "`resume_expired`",
  maxBufferedBytes: "1013, `too much waits to be read`",
  stallSeconds: "1013, `nothing was read for too long`",
  heartbeatSeconds: "1006",
  idleSeconds: "4408",
  headerSeconds: "408",
  bodySeconds: "408",
  drainSeconds: "`draining`, 1001",
} as const satisfies Record<keyof Limits, string>;

/** As `hello` has them. */
export function limitsOnWire(limits: Limits): Record<string, number> {
  const names = Object.keys(beyond) as (keyof Limits)[];
  return Object.fromEntries(names.map((name) => [snakeCase(name), limits[name]]));
}

export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
