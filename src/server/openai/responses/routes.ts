import { Router, type Request, type Response } from "express";
import { parseRequest } from "../../../protocol/openai.ts";
import { responseRequest } from "../../../protocol/responses.ts";
import type { ServerContext } from "../../context.ts";
import { errorOf } from "../answer.ts";
import { EventStream, patienceMs } from "../event-stream.ts";
import type { ResponseEvent } from "./items.ts";
import type { Responder } from "./responder.ts";

/** OpenAI's Responses API over HTTP. */
export function responseRoutes({ auth, correlations, limits }: ServerContext, responder: Responder): Router {
  const router = Router();
  router.post("/v1/responses", async (request: Request, response: Response) => {
    const body = parseRequest(responseRequest, request.body);
    const isStream = body.stream === true;
    const origin = { transport: isStream ? "sse" : "http", ...correlations.of(request) } as const;
    const responding = responder.respond(auth.callerOf(request), body, origin);
    const gone = new AbortController();
    response.on("close", () => {
      gone.abort();
    });
    const stream = new EventStream(response, limits.stallSeconds);
    const patience = isStream
      ? setTimeout(() => {
          stream.open();
        }, patienceMs)
      : undefined;
    try {
      for await (const events of responding.stream(gone.signal)) {
        clearTimeout(patience);
        const { error } = responding.generation;
        if (error !== undefined && !stream.isOpen) throw errorOf(error);
        if (isStream) {
          stream.open();
          for (const event of events) await stream.write(event, { event: event.type });
        }
        const whole = events.find(isEnd);
        if (!isStream && whole !== undefined) response.json(whole["response"]);
      }
      if (isStream) response.end();
    } finally {
      clearTimeout(patience);
      stream.stopPings();
    }
  });
  return router;
}

function isEnd({ type }: ResponseEvent): boolean {
  return type === "response.completed" || type === "response.incomplete";
}
