import express, { type Response, type Router } from "express";
import type { Probe } from "../health/probes.ts";
import type { ServerContext } from "./context.ts";

/** What an orchestrator asks. It tells nothing that is secret, and so asks for no key. */
export function probeRoutes({ probes }: ServerContext): Router {
  const router = express.Router();
  const answer = (response: Response, { ok, body }: Probe) => response.status(ok ? 200 : 503).json(body);
  router.get("/health/live", (_request, response) => void answer(response, probes.live()));
  router.get("/health/ready", (_request, response) => void answer(response, probes.ready()));
  router.get("/health/startup", (_request, response) => void answer(response, probes.startup()));
  return router;
}
