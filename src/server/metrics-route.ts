import express, { type Express, type Router } from "express";
import type { Exposition } from "../health/metrics/metrics.ts";
import { LlamapodError } from "../protocol/errors.ts";
import type { ServerContext } from "./context.ts";
import { guard } from "./guard.ts";
import { observeRequests } from "./observation.ts";
import { probeRoutes } from "./probe-routes.ts";
import { errorHandler } from "./problem.ts";

/** What Prometheus scrapes. A scrape reads numbers that are there: it loads no model and wakes none. */
export function metricsRoute({ metrics }: ServerContext): Router {
  const router = express.Router();
  router.get("/metrics", async (request, response) => {
    const { contentType, text } = await metrics.scrape(chosenBy(request.headers.accept ?? ""));
    response.set({ "Content-Type": contentType, Vary: "Accept" }).send(text);
  });
  return router;
}

/** `/metrics` for a port of its own, and the probes, which may not get in by the other. */
export function createMetricsApp(context: ServerContext): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.use(observeRequests(context));
  app.use((request, _response, next) => {
    guard(request, context);
    next();
  });
  app.use(probeRoutes(context));
  app.use((request, _response, next) => {
    context.auth.authenticate(request);
    next();
  });
  app.use(metricsRoute(context));
  app.use((request) => {
    throw new LlamapodError(
      "not_found",
      `There is no ${request.method} ${request.path}: this port has /metrics and /health only.`,
    );
  });
  app.use(errorHandler(context));
  return app;
}

/** OpenMetrics for whoever asks for it by name and likes it no less than plain text. */
function chosenBy(accept: string): Exposition {
  const quality = (type: string): number => {
    const accepted = accept.split(",").map((range) => range.split(";").map((part) => part.trim().toLowerCase()));
    const qualities = accepted.flatMap(([name, ...parameters]) => {
      if (name !== type) return [];
      const given = parameters.find((parameter) => parameter.startsWith("q="));
      return [given === undefined ? 1 : Number(given.slice(2))];
    });
    return Math.max(0, ...qualities.filter(Number.isFinite));
  };
  const openMetrics = quality("application/openmetrics-text");
  return openMetrics > 0 && openMetrics >= quality("text/plain") ? "openmetrics" : "plain";
}
