import { Router } from "express";
import type { ServerContext } from "../context.ts";
import { asyncapi } from "./asyncapi.ts";
import { openapi } from "./openapi.ts";

/** The published contract, which is no secret. */
export function contractRoutes({ version }: ServerContext): Router {
  const router = Router();
  const documents = { "/openapi.json": openapi(version), "/asyncapi.json": asyncapi(version) };
  for (const [path, document] of Object.entries(documents)) {
    router.get(path, (_request, response) => {
      response.json(document);
    });
  }
  return router;
}
