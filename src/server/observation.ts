import type { Request, RequestHandler, Response } from "express";
import type { Logger } from "pino";
import type { ServerContext } from "./context.ts";
import { requestIdHeader, type Correlation } from "./correlation.ts";

/** What is polled every few seconds: of interest only when somebody looks for it. */
const polled = /^\/(health\/|metrics)/;

/** Names every request, and tells its duration, its log line and its span when the answer has ended. */
export function observeRequests({ correlations, metrics, log }: ServerContext): RequestHandler {
  return (request, response, next) => {
    const startedAt = performance.now();
    const correlation = correlations.begin(request);
    response.set(requestIdHeader, correlation.requestId);
    if (correlation.span.traceparent !== undefined) response.set("traceparent", correlation.span.traceparent);
    response.once("close", () => {
      const seconds = (performance.now() - startedAt) / 1_000;
      const route = routeOf(request, response);
      const { method } = request;
      // One that nobody has waited for has no status that was sent.
      const status = response.headersSent ? response.statusCode : 499;
      const { requestId, span } = correlation;
      metrics.connections.answered({ route, method, status }, seconds, { requestId, traceId: span.traceId });
      endSpan(correlation, { route, method, status });
      tell(log, correlation, { method, path: request.path, status, seconds });
    });
    next();
  };
}

/** The pattern that has matched: paths are chosen by clients, patterns are not. */
export function routeOf(request: Request, response: Response): string {
  const route: unknown = request.route;
  if (typeof route === "object" && route !== null && "path" in route && typeof route.path === "string") return route.path;
  return response.statusCode < 400 ? "_page" : "_unmatched";
}

function endSpan(
  { span, requestId }: Correlation,
  { route, method, status }: { readonly route: string; readonly method: string; readonly status: number },
): void {
  span.set({
    "http.request.method": method,
    "http.route": route,
    "http.response.status_code": status,
    "llamapod.request_id": requestId,
  });
  span.rename(`${method} ${route}`);
  if (status >= 500) span.fail(String(status));
  span.end();
}

function tell(
  log: Logger,
  { requestId, span }: Correlation,
  { method, path, status, seconds }: { readonly method: string; readonly path: string; status: number; seconds: number },
): void {
  const fields = {
    request_id: requestId,
    ...(span.traceId !== undefined && { trace_id: span.traceId }),
    method,
    path,
    status,
    ms: Math.round(seconds * 1_000),
  };
  log[polled.test(path) ? "trace" : "debug"](fields, "answered");
}
