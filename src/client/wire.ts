import type { ClientMessageInput, ServerMessage, ServerMessageOf } from "../protocol/stream.ts";

/**
 * The page's side of the `llamapod.v1` grammar. It shares the types with the server but not the schemas: a validator would be
 * the largest file of the page, and what the page must not trust is text, which it never runs.
 */
export const subprotocol: ServerMessageOf<"hello">["protocol"] = "llamapod.v1";

export type GenerateRequest = Extract<ClientMessageInput, { type: "generate" }>;

export type SequencedMessage = ServerMessageOf<"started" | "delta" | "done"> | RangedError;

/** An error that is part of a generation's log and ends it. */
export type RangedError = ServerMessageOf<"error"> & { readonly id: string; readonly first: number; readonly seq: number };

type FieldType = "string" | "number" | "boolean" | "object";

/** Only the fields whose absence would break the page. Whatever is not here is ignored, as the protocol asks. */
const requiredFields: Readonly<Record<ServerMessage["type"], Readonly<Record<string, FieldType>>>> = {
  hello: { models: "object", limits: "object" },
  queued: { id: "string", position: "number" },
  started: { id: "string", first: "number", seq: "number" },
  delta: { id: "string", first: "number", seq: "number", text: "string", n: "number", t: "number" },
  done: { id: "string", first: "number", seq: "number", usage: "object", timings: "object" },
  error: { code: "string", message: "string" },
  model: { id: "string", state: "string", active: "boolean" },
  notice: { kind: "string" },
  pong: {},
};

/** The message in a frame, or nothing when it is not one that this version of the page knows. */
export function parseServerMessage(frame: string): ServerMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(frame);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Readonly<Record<string, unknown>>;
  const type = fields["type"];
  if (typeof type !== "string" || !Object.hasOwn(requiredFields, type)) return undefined;
  const required = Object.entries(requiredFields[type as ServerMessage["type"]]);
  const complete = required.every(([name, fieldType]) => typeof fields[name] === fieldType && fields[name] !== null);
  return complete ? (value as ServerMessage) : undefined;
}

export function isSequenced(message: ServerMessage): message is SequencedMessage {
  if (message.type === "error") return message.id !== undefined && message.first !== undefined && message.seq !== undefined;
  return message.type === "started" || message.type === "delta" || message.type === "done";
}
