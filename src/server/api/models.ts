import { Router, type Response } from "express";
import type { ModelStatus } from "../../models/model-status.ts";
import type { Operation } from "../../models/operations.ts";
import type { ModelObject, PlanObject } from "../../protocol/operator.ts";
import type { Memory } from "../../protocol/runner.ts";
import type { ServerContext } from "../context.ts";
import { operationObject } from "./operations.ts";

/** The operator's view of the models. */
export function modelRoutes({ pool, pulls }: ServerContext): Router {
  const router = Router();

  router.get("/api/models", (_request, response) => {
    response.json({ models: modelObjects(pool) });
  });

  router.get("/api/models/:id", async (request, response) => {
    const { id } = await pool.find(request.params.id);
    response.json(modelObjects(pool).find((model) => model.id === id));
  });

  router.post("/api/models/:id/plan", async (request, response) => {
    const { forecast, needed, capacity, taken } = await pool.forecast(await pool.resolve(request.params.id));
    const plan: PlanObject = {
      outcome: forecast.outcome,
      evicts: forecast.outcome === "evicts" ? [...forecast.victims] : [],
      missing: forecast.outcome === "short" ? memoryObject(forecast.missing) : null,
      needed: memoryObject(needed),
      taken: memoryObject(taken),
      capacity: memoryObject(capacity),
    };
    response.json(plan);
  });

  router.post("/api/models/:id/switch", async (request, response) => {
    accept(response, pool.switchTo(await pool.resolve(request.params.id)));
  });

  router.post("/api/models/:id/load", async (request, response) => {
    accept(response, pool.load(await pool.resolve(request.params.id)));
  });

  router.post("/api/models/:id/pull", (request, response) => {
    accept(response, pulls.begin(request.params.id));
  });

  router.post("/api/models/:id/unload", async (request, response) => {
    accept(response, pool.unload(await pool.resolve(request.params.id)));
  });

  return router;
}

function accept(response: Response, operation: Operation): void {
  response.status(202).location(`/api/operations/${operation.id}`).json(operationObject(operation.status));
}

function modelObjects({ models, fitting }: ServerContext["pool"]): ModelObject[] {
  return models.map((model) => modelObject(model, fitting.get(model.id)));
}

function modelObject(status: ModelStatus, fits: boolean | undefined): ModelObject {
  const { id, aliases, state, active, sizeBytes, isBuiltIn, memory, progress, reason } = status;
  return {
    id,
    aliases: [...aliases],
    state,
    active,
    size_bytes: sizeBytes,
    built_in: isBuiltIn,
    memory_estimate_bytes: memory === undefined ? null : memory.ram + memory.vram,
    fits: fits ?? null,
    progress,
    reason,
  };
}

function memoryObject({ ram, vram }: Memory) {
  return { ram_bytes: ram, vram_bytes: vram };
}
