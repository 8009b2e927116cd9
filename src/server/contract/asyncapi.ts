import type { z } from "zod";
import { responseCreate, responseError, responseEvent } from "../../protocol/responses.ts";
import { clientMessage, serverMessage, subprotocol, type ClientMessage, type ServerMessage } from "../../protocol/stream.ts";
import { dialects, jsonSchema, type JsonObject } from "./json-schema.ts";

const fromClient: Readonly<Record<ClientMessage["type"], string>> = {
  generate: "Asks for an answer, or finds the one that was asked for with the same id and body.",
  resume: "Reads an answer from where the client was, or from its start, on any connection of its owner.",
  ack: "Everything up to seq has been applied.",
  cancel: "Ends an answer with what there is.",
  switch: "Makes a model the one that answers when a request names none.",
  ping: "Answered by pong.",
};

const fromServer: Readonly<Record<ServerMessage["type"], string>> = {
  hello: "The first message: what the server is, has and allows.",
  queued: "The answer has to wait.",
  started: "A slot reads the prompt.",
  delta: "Text or calls of tools, of n tokens, that covers the events first to seq.",
  done: "The end of an answer.",
  error: "With seq the end of an answer, without it the refusal of one message.",
  model: "A model's state has changed.",
  notice: "The server is about to stop.",
  pong: "The answer to ping.",
};

/** The WebSockets as an AsyncAPI 3.0 document. */
export function asyncapi(version: string): JsonObject {
  const received = messagesOf(clientMessage.options, fromClient);
  const sent = messagesOf(serverMessage.options, fromServer);
  const asked = { "response.create": message("response.create", "Asks for a response.", jsonSchema(responseCreate, "draft-7")) };
  const answered = {
    "response.event": message(
      "response.event",
      "What a response has come to; its type says what.",
      jsonSchema(responseEvent, "draft-7"),
    ),
    "response.error": message("response.error", "The refusal of a request.", jsonSchema(responseError, "draft-7")),
  };
  return {
    asyncapi: "3.0.0",
    info: {
      title: "llamapod",
      version,
      description: `The WebSocket protocol ${subprotocol}, of which docs/protocol.md says how it is meant, and OpenAI's of the Responses API.`,
      license: { name: "Apache-2.0" },
    },
    defaultContentType: "application/json",
    channels: {
      stream: channel("/v1/stream", `Subprotocol ${subprotocol}; text frames, one JSON object each.`, { ...received, ...sent }),
      responses: channel("/v1/responses", "OpenAI's WebSocket mode of the Responses API.", { ...asked, ...answered }),
    },
    operations: {
      receive: operation("receive", "stream", received),
      send: operation("send", "stream", sent),
      receiveRequest: operation("receive", "responses", asked),
      sendEvent: operation("send", "responses", answered),
    },
    components: { messages: { ...received, ...sent, ...asked, ...answered } },
  };
}

function channel(address: string, description: string, messages: JsonObject): JsonObject {
  return { address, description, messages: refs("#/components/messages/", Object.keys(messages)), bindings: { ws: {} } };
}

function operation(action: "receive" | "send", name: string, messages: JsonObject): JsonObject {
  const $ref = `#/channels/${name}`;
  return { action, channel: { $ref }, messages: Object.values(refs(`${$ref}/messages/`, Object.keys(messages))) };
}

function messagesOf(options: readonly z.ZodObject[], summaries: Readonly<Record<string, string>>): JsonObject {
  const schemas = options.map((option) => jsonSchema(option, "draft-7"));
  return Object.fromEntries(
    Object.entries(summaries).map(([name, summary]) => {
      const schema = schemas.find(({ properties }) => isOfType(properties, name));
      return [name, message(name, summary, schema)];
    }),
  );
}

function isOfType(properties: unknown, name: string): boolean {
  return (properties as { type?: { const?: string } } | undefined)?.type?.const === name;
}

function message(name: string, summary: string, schema: JsonObject | undefined): JsonObject {
  return { name, summary, payload: { schemaFormat: dialects["draft-7"], schema } };
}

function refs(prefix: string, names: readonly string[]): Readonly<Record<string, { $ref: string }>> {
  return Object.fromEntries(names.map((name) => [name, { $ref: `${prefix}${name}` }]));
}
