import type { ErrorRequestHandler, Response } from "express";
import { describeError, LlamapodError, toLlamapodError } from "../protocol/errors.ts";
import { logMistake } from "../stream/mistakes.ts";
import type { ServerContext } from "./context.ts";

/** OpenAI's error envelope. */
export function errorEnvelope({ code, message, param }: LlamapodError) {
  return { error: { message, type: describeError(code).type, code, param: param ?? null } };
}

/** Answers with an error, in OpenAI's envelope or as an RFC 9457 problem. */
function sendError(response: Response, error: LlamapodError): void {
  const { status } = describeError(error.code);
  response.status(status);
  if (status === 401) response.set("WWW-Authenticate", "Bearer");
  if (error.retryAfterMs !== undefined) response.set("Retry-After", String(Math.ceil(error.retryAfterMs / 1_000)));
  if (response.req.path.startsWith("/v1/")) {
    response.json(errorEnvelope(error));
    return;
  }
  const { code, message, param } = error;
  response.type("application/problem+json");
  response.send(JSON.stringify({ type: "about:blank", title: code, status, detail: message, code, param }));
}

export function errorHandler({ log, metrics, correlations }: ServerContext): ErrorRequestHandler {
  return (thrown: unknown, request, response, next) => {
    const error = bodyError(thrown) ?? toLlamapodError(thrown);
    metrics.refused(error.code);
    const { requestId } = correlations.of(request);
    logMistake(log, error, { request_id: requestId, method: request.method, path: request.path });
    if (response.headersSent) next(thrown);
    else sendError(response, error);
  };
}

/** The rest of what the parser says is a piece of the body, which may be a prompt. */
function positionIn(message: string): string {
  const [, position] = / position (\d+)/.exec(message) ?? [];
  return position === undefined ? "" : ` (at character ${position})`;
}

/** What express says about a body that it could not read, in our words. */
function bodyError(thrown: unknown): LlamapodError | undefined {
  if (!(thrown instanceof Error) || !("type" in thrown)) return undefined;
  switch (thrown.type) {
    case "entity.parse.failed":
      return new LlamapodError("invalid_json", `The body is not valid JSON${positionIn(thrown.message)}.`, { cause: thrown });
    case "entity.too.large":
      return new LlamapodError("request_too_large", `The body is too large: ${thrown.message}.`, { cause: thrown });
    case "encoding.unsupported":
    case "charset.unsupported":
      return new LlamapodError("unsupported_media_type", `The body cannot be read: ${thrown.message}.`, { cause: thrown });
    case "request.aborted":
    case "request.size.invalid":
      return new LlamapodError("invalid_message", "The body ended too early.", { cause: thrown });
    default:
      return undefined;
  }
}
