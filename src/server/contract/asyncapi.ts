import type { z } from "zod";
import { clientMessage, serverMessage, subprotocol, type ClientMessage, type ServerMessage } from "../../protocol/stream.ts";
import { jsonSchema, type JsonObject } from "./json-schema.ts";

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

/** The WebSocket protocol as an AsyncAPI 3.0 document. */
export function asyncapi(version: string): JsonObject {
  const received = messagesOf(clientMessage.options, fromClient);
  const sent = messagesOf(serverMessage.options, fromServer);
  return {
    asyncapi: "3.0.0",
    info: {
      title: "llamapod",
      version,
      description: `The WebSocket protocol ${subprotocol}. docs/protocol.md says how it is meant.`,
      license: { name: "Apache-2.0" },
    },
    defaultContentType: "application/json",
    channels: {
      stream: {
        address: "/v1/stream",
        description: `Subprotocol ${subprotocol}; text frames, one JSON object each.`,
        messages: refs("#/components/messages/", [...Object.keys(received), ...Object.keys(sent)]),
        bindings: { ws: {} },
      },
    },
    operations: {
      receive: {
        action: "receive",
        channel: { $ref: "#/channels/stream" },
        messages: Object.values(refs("#/channels/stream/messages/", Object.keys(received))),
      },
      send: {
        action: "send",
        channel: { $ref: "#/channels/stream" },
        messages: Object.values(refs("#/channels/stream/messages/", Object.keys(sent))),
      },
    },
    components: { messages: { ...received, ...sent } },
  };
}

function messagesOf(options: readonly z.ZodObject[], summaries: Readonly<Record<string, string>>): JsonObject {
  const payloads = options.map((option) => jsonSchema(option));
  return Object.fromEntries(
    Object.entries(summaries).map(([name, summary]) => {
      const payload = payloads.find(({ properties }) => isOfType(properties, name));
      return [name, { name, summary, payload }];
    }),
  );
}

function isOfType(properties: unknown, name: string): boolean {
  return (properties as { type?: { const?: string } } | undefined)?.type?.const === name;
}

function refs(prefix: string, names: readonly string[]): Readonly<Record<string, { $ref: string }>> {
  return Object.fromEntries(names.map((name) => [name, { $ref: `${prefix}${name}` }]));
}
