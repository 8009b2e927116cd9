import { Router } from "express";
import { LlamapodError } from "../../protocol/errors.ts";
import { subprotocol } from "../../protocol/stream.ts";
import type { ServerContext } from "../context.ts";
import { ticketSeconds } from "./tickets.ts";

/** What a browser needs before it can open the WebSocket with a key. */
export function ticketRoutes({ auth }: ServerContext): Router {
  const router = Router();
  router.post("/v1/stream/tickets", (request, response) => {
    response.status(201).set("Cache-Control", "no-store");
    response.json({ protocol: auth.issueTicket(request), expires_in_s: ticketSeconds });
  });
  router.get("/v1/stream", (_request, response) => {
    response.set("Upgrade", "websocket");
    throw new LlamapodError("unsupported_version", `This is a WebSocket: open it with the subprotocol ${subprotocol}.`);
  });
  return router;
}
