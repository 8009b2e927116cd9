import { Router } from "express";
import { components } from "../../logging/levels.ts";
import { logLevelsChange } from "../../protocol/operator.ts";
import { parseRequest } from "../../protocol/openai.ts";
import type { ServerContext } from "../context.ts";

/** From which level on lines are logged, until the next start. */
export function logLevelRoutes({ logLevels, log }: ServerContext): Router {
  const router = Router();

  router.get("/api/log-levels", (_request, response) => {
    response.json(logLevels.current);
  });

  router.patch("/api/log-levels", (request, response) => {
    const change = parseRequest(logLevelsChange, request.body);
    for (const component of components) {
      const level = change[component];
      if (level !== undefined) logLevels.set(component, level);
    }
    log.info(logLevels.current, "log levels changed");
    response.json(logLevels.current);
  });

  return router;
}
