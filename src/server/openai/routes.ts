import { randomUUID } from "node:crypto";
import { Router, type Request, type Response } from "express";
import {
  chatCompletionRequest,
  completionRequest,
  parseRequest,
  type ChatCompletionRequest,
  type CompletionRequest,
} from "../../protocol/openai.ts";
import type { Generation } from "../../stream/generation.ts";
import type { GenerationRequest } from "../../stream/generations.ts";
import { answerFormatOf } from "../../stream/answer-format.ts";
import { samplingOf } from "../../stream/sampling.ts";
import { toolUseOf } from "../../stream/tool-use.ts";
import type { ServerContext } from "../context.ts";
import { answerStreaming, answerWhole, type AnswerOptions } from "./answer.ts";
import { detachmentIn, lastSeqIn, notResumable, readingOf } from "./detached.ts";
import { chatRendering, completionRendering, type Rendering } from "./rendering.ts";

/** How the answers are written that outlive their connection. */
const resumable = new WeakMap<Generation, AnswerOptions>();

/** OpenAI's HTTP API. */
export function openaiRoutes(context: ServerContext): Router {
  const router = Router();

  router.get("/v1/models", (_request, response) => {
    const usable = context.pool.models.filter(({ state }) => state !== "invalid");
    response.json({ object: "list", data: usable.map(({ id }) => modelObject(id)) });
  });

  router.get("/v1/models/:id", async (request, response) => {
    const { id } = await context.pool.resolve(request.params.id);
    response.json(modelObject(id));
  });

  router.post("/v1/chat/completions", async (request, response) => {
    const body = parseRequest(chatCompletionRequest, request.body);
    await answer(context, request, response, "chat", chatRendering, body, {
      ...commonFields(body),
      prompt: { kind: "chat", messages: body.messages, tools: toolUseOf(body) },
      maxTokens: body.max_completion_tokens ?? body.max_tokens,
      format: answerFormatOf(body.response_format),
    });
  });

  router.get("/v1/generations/:id/events", async (request, response) => {
    const { id: owner } = context.auth.callerOf(request, "chat");
    const generation = context.generations.find(owner, request.params.id);
    const options = resumable.get(generation);
    if (options === undefined) throw notResumable(generation.id);
    const reading = readingOf(context.generations, owner, generation, Symbol("resumed"), response);
    await answerStreaming(generation, response, options, { ...reading, after: lastSeqIn(request, generation) });
  });

  router.post("/v1/completions", async (request, response) => {
    const body = parseRequest(completionRequest, request.body);
    await answer(context, request, response, "completions", completionRendering, body, {
      ...commonFields(body),
      prompt: { kind: "text", text: body.prompt },
      // OpenAI's own default here: whoever completes raw text says how much.
      maxTokens: body.max_tokens ?? 16,
      format: undefined,
    });
  });

  return router;
}

function modelObject(id: string) {
  return { id, object: "model", created: 0, owned_by: "llamapod" };
}

function commonFields(body: ChatCompletionRequest | CompletionRequest) {
  return {
    model: body.model,
    sampling: samplingOf(body),
    stop: body.stop ?? [],
    ignoreEndOfTurn: body.ignore_eos ?? false,
    priority: 0,
  };
}

async function answer(
  { generations, pool, auth, correlations, limits }: ServerContext,
  asked: Request,
  response: Response,
  endpoint: "chat" | "completions",
  rendering: Rendering,
  body: ChatCompletionRequest | CompletionRequest,
  request: GenerationRequest,
): Promise<void> {
  const { id: owner } = auth.callerOf(asked, "chat");
  const id = `${rendering.idPrefix}${randomUUID()}`;
  const isStream = body.stream === true;
  const detachment = detachmentIn(asked, isStream);
  const origin = { endpoint, transport: isStream ? "sse" : "http", ...correlations.of(asked) } as const;
  const generation = generations.begin(owner, id, origin, request, detachment);
  const connection = Symbol("response");
  // Here, unlike on the WebSocket, a client that goes away wants no more, unless it said so: the official clients abort so.
  if (detachment === undefined) {
    response.on("close", () => {
      generations.abandon(owner, id, connection);
    });
  }
  const options = {
    model: body.model ?? pool.activeModel ?? "",
    rendering,
    includeUsage: body.stream_options?.include_usage ?? false,
    isResumable: detachment !== undefined,
    created: Math.floor(Date.now() / 1_000),
    stallSeconds: limits.stallSeconds,
  };
  if (detachment !== undefined) resumable.set(generation, options);
  const reading = readingOf(generations, owner, generation, connection, response);
  await (isStream ? answerStreaming : answerWhole)(generation, response, options, reading);
}
