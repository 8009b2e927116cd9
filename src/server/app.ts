import { isUtf8 } from "node:buffer";
import express, { type Express, type Request } from "express";
import { LlamapodError } from "../protocol/errors.ts";
import { logLevelRoutes } from "./api/log-levels.ts";
import { modelRoutes } from "./api/models.ts";
import { operationRoutes } from "./api/operations.ts";
import { ticketRoutes } from "./auth/routes.ts";
import type { ServerContext } from "./context.ts";
import { contractRoutes } from "./contract/routes.ts";
import { crossOrigin } from "./cross-origin.ts";
import { guard } from "./guard.ts";
import { metricsRoute } from "./metrics-route.ts";
import { observeRequests } from "./observation.ts";
import type { Responder } from "./openai/responses/responder.ts";
import { responseRoutes } from "./openai/responses/routes.ts";
import { openaiRoutes } from "./openai/routes.ts";
import { pageRoutes } from "./pages.ts";
import { probeRoutes } from "./probe-routes.ts";
import { errorHandler } from "./problem.ts";

/** Everything that is answered over plain HTTP. */
export function createApp(context: ServerContext, responder: Responder): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.use(observeRequests(context));
  app.use((request, _response, next) => {
    guard(request, context);
    next();
  });
  if (context.allowedOrigins.length > 0) app.use(crossOrigin(context));
  // Probes, the page's files and the contract tell nothing and ask for no key; whatever comes after them does.
  app.use(probeRoutes(context));
  app.use(pageRoutes());
  app.use(contractRoutes(context));
  app.use((request, _response, next) => {
    context.auth.authenticate(request);
    next();
  });
  app.use("/api", (request, _response, next) => {
    if (!isReading(request)) context.auth.callerOf(request, "admin");
    next();
  });
  if (context.metricsPort === undefined) app.use(metricsRoute(context));
  app.use(ticketRoutes(context));
  app.use(express.json({ limit: context.limits.maxMessageBytes, verify: refuseBrokenText }));
  app.use(openaiRoutes(context));
  app.use(responseRoutes(context, responder));
  app.use(modelRoutes(context));
  app.use(operationRoutes(context));
  app.use(logLevelRoutes(context));
  app.use((request) => {
    throw new LlamapodError("not_found", `There is no ${request.method} ${request.path}.`);
  });
  app.use(errorHandler(context));
  return app;
}

function isReading({ method }: Request): boolean {
  return method === "GET" || method === "HEAD";
}

/** Broken UTF-8 would otherwise become replacement characters in the prompt, without a word. */
function refuseBrokenText(_request: unknown, _response: unknown, body: Buffer): void {
  if (!isUtf8(body)) throw new LlamapodError("invalid_json", "The body is not valid UTF-8.");
}
