/**
 * Every error that can cross a process or network border, declared once.
 *
 * `status` is the HTTP status; `type` is the category of OpenAI's error envelope; `retryable` tells a client whether the
 * same request may succeed later without being changed.
 */
const table = {
  invalid_json: { status: 400, type: "invalid_request_error", retryable: false },
  invalid_message: { status: 400, type: "invalid_request_error", retryable: false },
  unsupported_parameter: { status: 400, type: "invalid_request_error", retryable: false },
  unsupported_version: { status: 426, type: "invalid_request_error", retryable: false },
  unsupported_media_type: { status: 415, type: "invalid_request_error", retryable: false },
  request_too_large: { status: 413, type: "invalid_request_error", retryable: false },
  not_found: { status: 404, type: "not_found_error", retryable: false },
  method_not_allowed: { status: 405, type: "invalid_request_error", retryable: false },
  invalid_api_key: { status: 401, type: "authentication_error", retryable: false },
  insufficient_scope: { status: 403, type: "permission_error", retryable: false },
  host_not_allowed: { status: 421, type: "permission_error", retryable: false },
  origin_not_allowed: { status: 403, type: "permission_error", retryable: false },
  model_not_found: { status: 404, type: "not_found_error", retryable: false },
  model_not_downloaded: { status: 404, type: "not_found_error", retryable: false },
  pull_failed: { status: 502, type: "server_error", retryable: true },
  model_load_failed: { status: 503, type: "server_error", retryable: true },
  model_file_invalid: { status: 422, type: "invalid_request_error", retryable: false },
  insufficient_memory: { status: 422, type: "invalid_request_error", retryable: false },
  template_error: { status: 400, type: "invalid_request_error", retryable: false },
  context_length_exceeded: { status: 400, type: "invalid_request_error", retryable: false },
  overloaded: { status: 429, type: "rate_limit_error", retryable: true },
  queue_share_exceeded: { status: 429, type: "rate_limit_error", retryable: true },
  too_many_messages: { status: 429, type: "rate_limit_error", retryable: true },
  too_many_connections: { status: 429, type: "rate_limit_error", retryable: true },
  connection_share_exceeded: { status: 429, type: "rate_limit_error", retryable: true },
  too_many_generations: { status: 429, type: "rate_limit_error", retryable: true },
  generation_share_exceeded: { status: 429, type: "rate_limit_error", retryable: true },
  log_memory_full: { status: 429, type: "rate_limit_error", retryable: true },
  conversation_too_long: { status: 400, type: "invalid_request_error", retryable: false },
  max_tokens_exceeded: { status: 400, type: "invalid_request_error", retryable: false },
  too_many_stop_strings: { status: 400, type: "invalid_request_error", retryable: false },
  schema_too_large: { status: 400, type: "invalid_request_error", retryable: false },
  unsupported_schema: { status: 400, type: "invalid_request_error", retryable: false },
  grace_too_long: { status: 400, type: "invalid_request_error", retryable: false },
  answer_too_long: { status: 400, type: "invalid_request_error", retryable: false },
  idempotency_conflict: { status: 409, type: "invalid_request_error", retryable: false },
  generation_not_found: { status: 404, type: "not_found_error", retryable: false },
  previous_response_not_found: { status: 400, type: "invalid_request_error", retryable: false },
  superseded: { status: 409, type: "invalid_request_error", retryable: false },
  resume_expired: { status: 410, type: "not_found_error", retryable: false },
  operation_cancelled: { status: 409, type: "invalid_request_error", retryable: true },
  runner_crashed: { status: 502, type: "server_error", retryable: true },
  draining: { status: 503, type: "server_error", retryable: true },
  internal: { status: 500, type: "server_error", retryable: false },
} as const satisfies Record<string, ErrorEntry>;

interface ErrorEntry {
  readonly status: number;
  readonly type: string;
  readonly retryable: boolean;
}

export type ErrorCode = keyof typeof table;

export const errorCodes = Object.keys(table) as [ErrorCode, ...ErrorCode[]];

/** What a client is told about an error, in every rendering (WebSocket, SSE, JSON). */
export interface ErrorDetails {
  readonly code: ErrorCode;
  readonly message: string;
  readonly param?: string | undefined;
  readonly retryAfterMs?: number | undefined;
}

/** The only error that crosses a module border. Its message is meant for the client: what was wrong, where, what to do. */
export class LlamapodError extends Error implements ErrorDetails {
  override readonly name = "LlamapodError";
  readonly code: ErrorCode;
  readonly param: string | undefined;
  /** Milliseconds after which a retry makes sense. */
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, details: { param?: string; retryAfterMs?: number; cause?: unknown } = {}) {
    super(message, { cause: details.cause });
    this.code = code;
    this.param = details.param;
    this.retryAfterMs = details.retryAfterMs;
  }
}

export function describeError(code: ErrorCode): ErrorEntry {
  return table[code];
}

/** Turns anything thrown into the error a client may see: what is not ours becomes `internal` and keeps its cause for the log. */
export function toLlamapodError(thrown: unknown): LlamapodError {
  if (thrown instanceof LlamapodError) return thrown;
  return new LlamapodError("internal", "The server made a mistake. Its log has the cause.", { cause: thrown });
}
