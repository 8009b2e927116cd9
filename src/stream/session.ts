import type { Logger } from "pino";
import { z } from "zod";
import type { Metrics } from "../health/metrics/metrics.ts";
import type { ModelStatus } from "../models/model-status.ts";
import type { Pool } from "../models/pool.ts";
import { requireScope, type Caller } from "../protocol/access.ts";
import { LlamapodError, toLlamapodError } from "../protocol/errors.ts";
import { limitsOnWire, type Limits } from "../protocol/limits.ts";
import {
  clientMessage,
  generationId,
  subprotocol,
  type ClientMessage,
  type GenerateMessage,
  type ServerMessage,
  type ServerMessageOf,
} from "../protocol/stream.ts";
import { checkNesting, issueToError, parseFrame } from "../protocol/validation.ts";
import { answerFormatOf } from "./answer-format.ts";
import { errorMessage, type Generation, type Origin } from "./generation.ts";
import type { GenerationRequest, Generations } from "./generations.ts";
import { logMistake } from "./mistakes.ts";
import { samplingOf } from "./sampling.ts";
import { Conduct } from "./conduct.ts";
import { toolUseOf } from "./tool-use.ts";
import { Throttle } from "./throttle.ts";

/** What carries a session: a WebSocket, seen from here. */
export interface Transport {
  /** Whether so much is waiting to be written that nothing should be added. `onDrain` follows. */
  readonly congested: boolean;
  send(text: string): void;
  /** Nothing is sent, and nothing that comes is handed on, after it. */
  close(code: number, reason: string): void;
}

export interface SessionContext {
  readonly log: Logger;
  readonly metrics: Metrics;
  /** What everything is said under that comes over the connection. */
  readonly correlation: Pick<Origin, "requestId" | "span">;
  readonly generations: Generations;
  readonly pool: Pool;
  readonly server: string;
  readonly limits: Limits;
  /** Resolves when a model has become active. @throws {LlamapodError} why it has not */
  readonly switchTo: (model: string) => Promise<void>;
}

interface Attachment {
  readonly generation: Generation;
  cursor: number;
  readonly detach: () => void;
}

/** `queued` is told at most this often, in milliseconds. */
const queuedEveryMs = 1_000;

/** What a WebSocket carries, whichever protocol it speaks. */
export interface SocketSession {
  /** How long nothing was said and nothing read, in milliseconds. */
  readonly idleMs: number;
  /** Takes one frame. Nothing that a client sends makes it throw. */
  receive(text: string): void;
  /** The connection can be written to again. */
  drained(): void;
  notifyDraining(reconnectAfterMs: number): void;
  /** The connection is gone: it broke, or somebody closed it. */
  closed(isBroken: boolean): void;
}

/** One connection that speaks `llamapod.v1`. It reads generations through cursors of its own; its end ends none of them. */
export class Session implements SocketSession {
  readonly #transport: Transport;
  readonly #context: SessionContext;
  readonly #caller: Caller;
  readonly #connection = Symbol("connection");
  readonly #attachments = new Map<string, Attachment>();
  readonly #stopModelEvents: () => void;
  readonly #conduct: Conduct;
  #lastMessageAt = performance.now();

  constructor(transport: Transport, caller: Caller, context: SessionContext) {
    this.#transport = transport;
    this.#caller = caller;
    this.#context = context;
    this.#conduct = new Conduct(context.limits.maxMessagesPerSecond);
    this.#send({
      type: "hello",
      protocol: subprotocol,
      server: context.server,
      active_model: context.pool.activeModel ?? null,
      models: context.pool.models.map(({ id, aliases, state, active, sizeBytes, isBuiltIn }) => ({
        id,
        aliases: [...aliases],
        state,
        active,
        size_bytes: sizeBytes,
        built_in: isBuiltIn,
      })),
      limits: limitsOnWire(context.limits),
      heartbeat_s: context.limits.heartbeatSeconds,
    });
    this.#stopModelEvents = context.pool.onModelChange((status, revision) => {
      this.#send(modelMessage(status, revision));
    });
  }

  get idleMs(): number {
    return this.#attachments.size > 0 ? 0 : performance.now() - this.#lastMessageAt;
  }

  receive(text: string): void {
    this.#lastMessageAt = performance.now();
    let subject: Subject = {};
    let type: ClientMessage["type"] | undefined;
    try {
      const value = parseFrame(text);
      subject = subjectOf.parse(value);
      const message = validate(value);
      type = message.type;
      // Those of a client that reads fast would leave nothing for what it asks.
      if (message.type !== "ack") this.#conduct.take();
      this.#handle(message);
    } catch (thrown) {
      this.#complain(toLlamapodError(thrown), subject);
    } finally {
      this.#context.metrics.connections.received(type);
    }
  }

  drained(): void {
    for (const attachment of this.#attachments.values()) this.#pump(attachment);
  }

  notifyDraining(reconnectAfterMs: number): void {
    this.#send({ type: "notice", kind: "draining", reconnect_after_ms: reconnectAfterMs });
  }

  closed(isBroken: boolean): void {
    this.#stopModelEvents();
    if (isBroken) this.#context.generations.connectionBroke(this.#caller.id, this.#connection);
    for (const id of [...this.#attachments.keys()]) this.#detach(id);
  }

  #handle(message: ClientMessage): void {
    const { generations } = this.#context;
    switch (message.type) {
      case "generate":
        this.#generate(message);
        break;
      case "resume":
        this.#resume(message);
        break;
      case "ack":
        // One that ends a reading frees memory, and there is no more than one for each answer that was asked for.
        if (!generations.acknowledge(this.#caller.id, message.id, this.#connection, message.seq)) {
          this.#conduct.takeAcknowledgement();
        }
        break;
      case "cancel":
        generations.cancel(this.#caller.id, message.id);
        break;
      case "switch":
        requireScope(this.#caller, "admin");
        this.#context.switchTo(message.model).catch((thrown: unknown) => {
          this.#complain(toLlamapodError(thrown), { model: message.model });
        });
        break;
      case "ping":
        this.#send({ type: "pong", ...(message.t !== undefined && { t: message.t }) });
        break;
    }
  }

  #generate(message: GenerateMessage): void {
    requireScope(this.#caller, "chat");
    const { id, reader, detach } = message;
    const origin = { endpoint: "stream", transport: "ws", ...this.#context.correlation } as const;
    const graceMs = detach?.grace_s === undefined ? undefined : detach.grace_s * 1_000;
    const detachment = { graceMs, onExpire: detach?.on_expire };
    this.#attach(this.#context.generations.begin(this.#caller.id, id, origin, requestOf(message), detachment), 0, reader);
  }

  #resume({ id, after, reader }: Extract<ClientMessage, { type: "resume" }>): void {
    const generation = this.#context.generations.find(this.#caller.id, id);
    if (after > generation.lastSeq) {
      throw new LlamapodError(
        "invalid_message",
        `Generation ${id} has ${generation.lastSeq} events so far, and after is ${after}.`,
        { param: "after" },
      );
    }
    this.#attach(generation, after, reader);
  }

  #attach(generation: Generation, after: number, reader: string | undefined): void {
    const { id } = generation;
    this.#detach(id);
    if (reader !== undefined) generation.supersede(reader);
    this.#context.generations.joined(this.#caller.id, id, this.#connection, reader);
    const queued = new Throttle<ServerMessageOf<"queued">>(queuedEveryMs, (message) => {
      this.#send(message);
    });
    const unsubscribe = generation.subscribe({
      advanced: () => {
        queued.stop();
        this.#pump(attachment);
      },
      queued: (message) => {
        queued.push(message);
      },
      reader,
      superseded: () => {
        this.#detach(id);
        this.#send({ ...errorMessage(superseded(id)), id });
      },
    });
    const detach = () => {
      queued.stop();
      unsubscribe();
    };
    const attachment: Attachment = { generation, cursor: after, detach };
    this.#attachments.set(id, attachment);
    this.#context.generations.readersChanged(this.#caller.id, id);
    this.#pump(attachment);
  }

  #detach(id: string): void {
    const attachment = this.#attachments.get(id);
    if (attachment === undefined) return;
    this.#attachments.delete(id);
    attachment.detach();
    this.#context.generations.readersChanged(this.#caller.id, id);
  }

  #pump(attachment: Attachment): void {
    while (!this.#transport.congested) {
      const frame = attachment.generation.next(attachment.cursor);
      if (frame === undefined) break;
      attachment.cursor = frame.seq;
      this.#send(frame);
    }
    if (attachment.generation.hasEnded && attachment.cursor === attachment.generation.lastSeq) {
      attachment.detach();
      this.#attachments.delete(attachment.generation.id);
    }
  }

  #complain(error: LlamapodError, subject: Subject): void {
    const { log, metrics, correlation } = this.#context;
    metrics.refused(error.code);
    logMistake(log, error, { request_id: correlation.requestId });
    this.#send({ ...errorMessage(error), ...subject });
    const closing = this.#conduct.refused(error.code);
    if (closing !== undefined) this.#transport.close(closing.code, closing.reason);
  }

  #send(message: ServerMessage): void {
    const text = JSON.stringify(message);
    const { connections } = this.#context.metrics;
    connections.sent(message.type, Buffer.byteLength(text));
    if (message.type === "delta") connections.delta(message.n);
    this.#transport.send(text);
  }
}

/** What an error is about: as much of the message as says so. */
type Subject = Pick<ServerMessageOf<"error">, "id" | "model">;

/** Also where the rest of the message is wrong. */
const subjectOf: z.ZodType<Subject> = z.union([
  z.object({ type: z.literal("switch"), model: z.string() }).transform(({ model }) => ({ model })),
  z.object({ id: generationId }),
  z.unknown().transform(() => ({})),
]);

function validate(value: unknown): ClientMessage {
  const { data, error } = clientMessage.safeParse(value);
  if (error !== undefined) throw issueToError(error);
  checkNesting(data);
  return data;
}

function requestOf(message: GenerateMessage): GenerationRequest {
  const prompt =
    message.messages === undefined
      ? ({ kind: "text", text: message.prompt ?? "" } as const)
      : ({ kind: "chat", messages: message.messages, tools: toolUseOf(message) } as const);
  return {
    model: message.model,
    prompt,
    sampling: samplingOf(message),
    maxTokens: message.max_tokens,
    stop: message.stop ?? [],
    ignoreEndOfTurn: false,
    format: answerFormatOf(message.response_format),
    priority: message.priority ?? 0,
  };
}

function superseded(id: string): LlamapodError {
  return new LlamapodError("superseded", `Generation ${id} is now read over a newer connection of the same reader.`);
}

function modelMessage({ id, state, progress, active, reason }: ModelStatus, rev: number): ServerMessage {
  return {
    type: "model",
    id,
    state,
    active,
    rev,
    ...(progress !== undefined && { progress }),
    ...(reason !== undefined && { reason }),
  };
}
