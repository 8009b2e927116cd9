import { Router, type Response } from "express";
import type { Operation, OperationStatus } from "../../models/operations.ts";
import type { OperationObject } from "../../protocol/operator.ts";
import type { ServerContext } from "../context.ts";

/** Proxies close a connection on which nothing moves; a comment keeps it open. */
const pingMs = 15_000;

/** Switches, loads and whatever else takes a while. */
export function operationRoutes({ pool: { operations } }: ServerContext): Router {
  const router = Router();

  router.get("/api/operations/:id", (request, response) => {
    const operation = operations.find(request.params.id);
    if (request.accepts("json", "text/event-stream") === "text/event-stream") follow(operation, response);
    else response.json(operationObject(operation.status));
  });

  router.delete("/api/operations/:id", (request, response) => {
    const operation = operations.find(request.params.id);
    operation.cancel();
    response.json(operationObject(operation.status));
  });

  return router;
}

/** Every change as an event, until the operation has ended. */
function follow(operation: Operation, response: Response): void {
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no" });
  const write = (status: OperationStatus) => {
    // A reader that is behind is told how it stands when it has caught up, and how it ended in any case.
    if (!response.writableNeedDrain || operation.hasEnded) response.write(`data: ${JSON.stringify(operationObject(status))}\n\n`);
  };
  write(operation.status);
  if (operation.hasEnded) {
    response.end();
    return;
  }
  const ping = setInterval(() => {
    if (!response.writableNeedDrain) response.write(": ping\n\n");
  }, pingMs);
  const stop = operation.onChange((status) => {
    write(status);
    if (operation.hasEnded) response.end();
  });
  response.on("close", () => {
    clearInterval(ping);
    stop();
  });
}

export function operationObject({ id, kind, modelId, state, progress, error }: OperationStatus): OperationObject {
  return {
    id,
    kind,
    model: modelId,
    state,
    phase: progress?.phase ?? null,
    done_bytes: progress?.doneBytes ?? 0,
    total_bytes: progress?.totalBytes ?? 0,
    error: error === undefined ? null : { code: error.code, message: error.message },
  };
}
