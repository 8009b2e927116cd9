import * as answers from "../../protocol/openai-answers.ts";
import * as operator from "../../protocol/operator.ts";
import { chatCompletionRequest, completionRequest } from "../../protocol/openai.ts";
import { responseRequest } from "../../protocol/responses.ts";
import { dialects, jsonSchemas, type JsonObject } from "./json-schema.ts";

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
  ModelState: operator.modelObject,
  ModelStates: operator.modelObjects,
  Plan: operator.planObject,
  Operation: operator.operationObject,
  LogLevels: operator.logLevelsObject,
  LogLevelsChange: operator.logLevelsChange,
} as const;

type SchemaName = keyof typeof schemas;

const anonymous: JsonObject[] = [{}];

/** The HTTP interface as an OpenAPI 3.1 document. */
export function openapi(version: string): JsonObject {
  return {
    openapi: "3.1.0",
    jsonSchemaDialect: dialects["draft-2020-12"],
    info: {
      title: "llamapod",
      version,
      description: "OpenAI's API under /v1, the operator's under /api. The WebSockets are described in /asyncapi.json.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    // Without keys none is needed.
    security: [{ key: [] }, {}],
    paths,
    components: {
      securitySchemes: { key: { type: "http", scheme: "bearer" } },
      schemas: jsonSchemas(schemas, "draft-2020-12"),
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
      summary: "OpenAI's Responses API for text and function calls; a WebSocket under the same path takes response.create",
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
  "/api/models": { get: { summary: "The models and their states", responses: { ...json("ModelStates"), ...failed("Problem") } } },
  "/api/models/{id}": {
    get: { summary: "One of them", parameters: [inPath("id")], responses: { ...json("ModelState"), ...failed("Problem") } },
  },
  "/api/models/{id}/plan": {
    post: {
      summary: "What would have to happen for the model to be loaded now; does nothing",
      parameters: [inPath("id")],
      responses: { ...json("Plan"), ...failed("Problem") },
    },
  },
  "/api/models/{id}/switch": begins("Makes the model the active one as soon as it has answered; the old one stays if it fails"),
  "/api/models/{id}/load": begins("Loads the model, without making it the active one"),
  "/api/models/{id}/unload": begins("Lets the model go as soon as it has nothing to do"),
  "/api/models/{id}/pull": begins("Downloads a model of the catalogue"),
  "/api/operations/{id}": {
    get: {
      summary: "How an operation fares; asked for as text/event-stream, every change until it has ended",
      parameters: [inPath("id")],
      responses: {
        "200": { description: "As asked for.", content: { "application/json": ref("Operation"), ...events("Operation") } },
        ...failed("Problem"),
      },
    },
    delete: {
      summary: "Calls an operation off",
      parameters: [inPath("id")],
      responses: { ...json("Operation"), ...failed("Problem") },
    },
  },
  "/api/log-levels": {
    get: { summary: "From which level on lines are logged", responses: { ...json("LogLevels"), ...failed("Problem") } },
    patch: {
      summary: "Changes that until the next start",
      requestBody: body("LogLevelsChange"),
      responses: { ...json("LogLevels"), ...failed("Problem") },
    },
  },
  "/health/live": probe("Whether the server works"),
  "/health/ready": probe("Whether the active model answers"),
  "/health/startup": probe("Whether the first model has been loaded"),
  "/metrics": {
    get: {
      summary: "Metrics for Prometheus",
      responses: {
        "200": {
          description: "In the text format, or as OpenMetrics where that is asked for.",
          content: {
            "text/plain": { schema: { type: "string" } },
            "application/openmetrics-text": { schema: { type: "string" } },
          },
        },
      },
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

function begins(summary: string) {
  return { post: { summary, parameters: [inPath("id")], responses: { ...json("Operation", "202"), ...failed("Problem") } } };
}

function inPath(name: string) {
  return { name, in: "path", required: true, schema: { type: "string" } };
}

/** What needs the scope `admin`. */
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
