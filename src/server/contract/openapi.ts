import * as answers from "../../protocol/openai-answers.ts";
import { chatCompletionRequest, completionRequest } from "../../protocol/openai.ts";
import { responseRequest } from "../../protocol/responses.ts";
import { jsonSchemas, type JsonObject } from "./json-schema.ts";

const schemas = {
  ChatCompletionRequest: chatCompletionRequest,
  CompletionRequest: completionRequest,
  ResponseRequest: responseRequest,
  ChatCompletion: answers.chatCompletion,
  ChatCompletionChunk: answers.chatCompletionChunk,
  Completion: answers.completion,
  CompletionChunk: answers.completionChunk,
  Model: answers.model,
  ModelList: answers.modelList,
  Error: answers.errorEnvelope,
  Problem: answers.problem,
  Ticket: answers.ticket,
} as const;

type SchemaName = keyof typeof schemas;

const anonymous: JsonObject[] = [{}];

/** The HTTP interface as an OpenAPI 3.1 document. */
export function openapi(version: string): JsonObject {
  return {
    openapi: "3.1.0",
    info: {
      title: "llamapod",
      version,
      description: "OpenAI's API under /v1, the operator's under /api. The WebSocket is described in /asyncapi.json.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    // Without keys none is needed.
    security: [{ key: [] }, {}],
    paths,
    components: {
      securitySchemes: { key: { type: "http", scheme: "bearer" } },
      schemas: jsonSchemas(schemas),
    },
  };
}

const detach = {
  name: "Llamapod-Detach",
  in: "header",
  description:
    "How many seconds the answer goes on without a reader, so that it can be resumed: grace=30, or grace=30, on-expire=finish.",
  schema: { type: "string", pattern: "^grace=\\d{1,9}(, *on-expire=(cancel|finish))?$" },
};

const paths = {
  "/v1/chat/completions": {
    post: {
      summary: "Answers a conversation",
      parameters: [detach],
      requestBody: body("ChatCompletionRequest"),
      responses: { ...answered("ChatCompletion", "ChatCompletionChunk"), ...failed("Error") },
    },
  },
  "/v1/completions": {
    post: {
      summary: "Continues a text",
      parameters: [detach],
      requestBody: body("CompletionRequest"),
      responses: { ...answered("Completion", "CompletionChunk"), ...failed("Error") },
    },
  },
  "/v1/responses": {
    post: {
      summary: "OpenAI's Responses API, text in and text out; a WebSocket under the same path takes response.create",
      requestBody: body("ResponseRequest"),
      responses: {
        "200": {
          description: "A response, whole or, with stream: true, as OpenAI's events.",
          content: { "application/json": { schema: { type: "object" } }, "text/event-stream": { schema: { type: "string" } } },
        },
        ...failed("Error"),
      },
    },
  },
  "/v1/generations/{id}/events": {
    get: {
      summary: "Goes on with an answer that was asked for with Llamapod-Detach",
      parameters: [
        inPath("id"),
        {
          name: "Last-Event-ID",
          in: "header",
          description: "The id of the last event that arrived.",
          schema: { type: "string" },
        },
        { name: "starting_after", in: "query", description: "The same as a number.", schema: { type: "integer", minimum: 0 } },
      ],
      responses: { "200": { description: "What follows.", content: events("ChatCompletionChunk") }, ...failed("Error") },
    },
  },
  "/v1/models": { get: { summary: "Lists the models", responses: { ...json("ModelList"), ...failed("Error") } } },
  "/v1/models/{id}": {
    get: { summary: "One of them", parameters: [inPath("id")], responses: { ...json("Model"), ...failed("Error") } },
  },
  "/v1/stream/tickets": {
    post: {
      summary: "Exchanges a key for a subprotocol that opens one WebSocket",
      responses: { ...json("Ticket", "201"), ...failed("Error") },
    },
  },
  "/api/models": {
    get: {
      summary: "The models of the folder, with their state",
      responses: { ...object("200"), ...failed("Problem") },
    },
  },
  "/api/models/{id}": {
    get: { summary: "One of them", parameters: [inPath("id")], responses: { ...object("200"), ...failed("Problem") } },
  },
  "/api/models/{id}/plan": change("What making it the active model would take; nothing is done", "200"),
  "/api/models/{id}/switch": change("Makes it the model that answers when a request names none", "202"),
  "/api/models/{id}/load": change("Loads it, beside what is loaded", "202"),
  "/api/models/{id}/unload": change("Gives its memory back", "202"),
  "/api/operations/{id}": {
    get: {
      summary: "How a switch or a load is going, as JSON or as events",
      parameters: [inPath("id")],
      responses: { ...object("200"), ...failed("Problem") },
    },
    delete: { summary: "Calls it off", parameters: [inPath("id")], responses: { ...object("200"), ...failed("Problem") } },
  },
  "/health/live": probe("Whether the server works"),
  "/health/ready": probe("Whether the active model answers"),
  "/health/startup": probe("Whether the first model has been loaded"),
  "/metrics": {
    get: {
      summary: "Metrics for Prometheus",
      responses: { "200": { description: "In the text format.", content: { "text/plain": { schema: { type: "string" } } } } },
    },
  },
  "/openapi.json": document("This document"),
  "/asyncapi.json": document("The WebSocket protocol as AsyncAPI"),
};

function ref(name: SchemaName) {
  return { schema: { $ref: `#/components/schemas/${name}` } };
}

function body(name: SchemaName) {
  return { required: true, content: { "application/json": ref(name) } };
}

function json(name: SchemaName, status = "200") {
  return { [status]: { description: "As asked for.", content: { "application/json": ref(name) } } };
}

/** OpenAPI 3.1 has no word for what is in each event; this says it as most tools take it. */
function events(name: SchemaName) {
  return { "text/event-stream": { schema: { type: "string" }, "x-event": ref(name).schema } };
}

function answered(whole: SchemaName, chunk: SchemaName) {
  const content = { "application/json": ref(whole), ...events(chunk) };
  return { "200": { description: "The answer, whole or, with stream: true, as events that end in [DONE].", content } };
}

function failed(name: "Error" | "Problem") {
  const type = name === "Error" ? "application/json" : "application/problem+json";
  return { default: { description: "What was wrong, where, and what to do.", content: { [type]: ref(name) } } };
}

function inPath(name: string) {
  return { name, in: "path", required: true, schema: { type: "string" } };
}

function object(status: string) {
  return { [status]: { description: "As asked for.", content: { "application/json": { schema: { type: "object" } } } } };
}

/** What needs the scope `admin`. */
function change(summary: string, status: "200" | "202") {
  return { post: { summary, parameters: [inPath("id")], responses: { ...object(status), ...failed("Problem") } } };
}

function probe(summary: string) {
  const content = { "application/json": { schema: { type: "object" } } };
  return {
    get: {
      summary,
      security: anonymous,
      responses: { "200": { description: "Yes.", content }, "503": { description: "No.", content } },
    },
  };
}

function document(summary: string) {
  const content = { "application/json": { schema: { type: "object" } } };
  return { get: { summary, security: anonymous, responses: { "200": { description: "The document.", content } } } };
}
