import { z } from "zod";
import type { Pool, ModelStatus } from "../models/pool.ts";
import { LlamapodError, toLlamapodError } from "../protocol/errors.ts";
import {
  clientMessage,
  closeCodes,
  generationId,
  subprotocol,
  type ClientMessage,
  type GenerateMessage,
  type ServerMessage,
  type ServerMessageOf,
} from "../protocol/stream.ts";
import { issueToError } from "../protocol/validation.ts";
import { errorMessage, type Generation } from "./generation.ts";
import type { GenerationRequest, Generations } from "./generations.ts";
import { samplingOf } from "./sampling.ts";
import { Throttle } from "./throttle.ts";

/** What carries a session: a WebSocket, seen from here. */
export interface Transport {
  /** Whether so much is waiting to be written that nothing should be added. `onDrain` follows. */
  readonly congested: boolean;
  send(text: string): void;
  close(code: number, reason: string): void;
}

export interface SessionContext {
  readonly generations: Generations;
  readonly pool: Pool;
  readonly server: string;
  readonly heartbeatSeconds: number;
  readonly limits: Readonly<Record<string, number>>;
  /** Resolves when a model has become active. @throws {LlamapodError} why it has not */
  readonly switchTo: (model: string) => Promise<void>;
}

interface Attachment {
  readonly generation: Generation;
  cursor: number;
  readonly detach: () => void;
}

/** So many bad messages in so long a time end the connection. */
const badMessages = { count: 10, withinMs: 10_000 } as const;

/** `queued` is told at most this often, in milliseconds. */
const queuedEveryMs = 1_000;

/** One connection that speaks `llamapod.v1`. It reads generations through cursors of its own; its end ends none of them. */
export class Session {
  readonly #transport: Transport;
  readonly #context: SessionContext;
  readonly #owner: string;
  readonly #attachments = new Map<string, Attachment>();
  readonly #stopModelEvents: () => void;
  #badMessageTimes: readonly number[] = [];

  constructor(transport: Transport, owner: string, context: SessionContext) {
    this.#transport = transport;
    this.#owner = owner;
    this.#context = context;
    this.#send({
      type: "hello",
      protocol: subprotocol,
      server: context.server,
      active_model: context.pool.activeModel ?? null,
      models: context.pool.models.map(({ id, state, active, sizeBytes, isBuiltIn }) => ({
        id,
        state,
        active,
        size_bytes: sizeBytes,
        built_in: isBuiltIn,
      })),
      limits: { ...context.limits },
      heartbeat_s: context.heartbeatSeconds,
    });
    this.#stopModelEvents = context.pool.onModelChange((status, revision) => {
      this.#send(modelMessage(status, revision));
    });
  }

  /** Takes one frame. Nothing that a client sends makes it throw. */
  receive(text: string): void {
    let id: string | undefined;
    try {
      const value = parseJson(text);
      id = addressed.safeParse(value).data?.id;
      this.#handle(validate(value));
    } catch (thrown) {
      this.#complain(toLlamapodError(thrown), id);
    }
  }

  /** The connection can be written to again. */
  drained(): void {
    for (const attachment of this.#attachments.values()) this.#pump(attachment);
  }

  notifyDraining(reconnectAfterMs: number): void {
    this.#send({ type: "notice", kind: "draining", reconnect_after_ms: reconnectAfterMs });
  }

  /** The connection is gone. */
  closed(): void {
    this.#stopModelEvents();
    for (const id of [...this.#attachments.keys()]) this.#detach(id);
  }

  #handle(message: ClientMessage): void {
    const { generations } = this.#context;
    switch (message.type) {
      case "generate":
        this.#attach(
          message.id,
          generations.begin(this.#owner, message.id, { endpoint: "stream", transport: "ws" }, requestOf(message)),
          0,
        );
        break;
      case "resume":
        this.#resume(message.id, message.after);
        break;
      case "ack":
        generations.acknowledge(this.#owner, message.id, message.seq);
        break;
      case "cancel":
        generations.cancel(this.#owner, message.id);
        break;
      case "switch":
        this.#context.switchTo(message.model).catch((thrown: unknown) => {
          this.#complain(toLlamapodError(thrown), undefined);
        });
        break;
      case "ping":
        this.#send({ type: "pong", ...(message.t !== undefined && { t: message.t }) });
        break;
    }
  }

  #resume(id: string, after: number): void {
    const generation = this.#context.generations.find(this.#owner, id);
    if (after > generation.lastSeq) {
      throw new LlamapodError(
        "invalid_message",
        `Generation ${id} has ${generation.lastSeq} events so far, and after is ${after}.`,
        {
          param: "after",
        },
      );
    }
    this.#attach(id, generation, after);
  }

  #attach(id: string, generation: Generation, after: number): void {
    this.#detach(id);
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
    });
    const detach = () => {
      queued.stop();
      unsubscribe();
    };
    const attachment: Attachment = { generation, cursor: after, detach };
    this.#attachments.set(id, attachment);
    this.#context.generations.readersChanged(this.#owner, id);
    this.#pump(attachment);
  }

  #detach(id: string): void {
    const attachment = this.#attachments.get(id);
    if (attachment === undefined) return;
    this.#attachments.delete(id);
    attachment.detach();
    this.#context.generations.readersChanged(this.#owner, id);
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

  #complain(error: LlamapodError, id: string | undefined): void {
    this.#send({ ...errorMessage(error), ...(id !== undefined && { id }) });
    if (error.code !== "invalid_json" && error.code !== "invalid_message") return;
    const now = performance.now();
    this.#badMessageTimes = [...this.#badMessageTimes, now].filter((time) => now - time < badMessages.withinMs);
    if (this.#badMessageTimes.length >= badMessages.count)
      this.#transport.close(closeCodes.tooManyBadMessages, "too many bad messages");
  }

  #send(message: ServerMessage): void {
    this.#transport.send(JSON.stringify(message));
  }
}

/** As much of a message as its answer needs, even where the rest is wrong. */
const addressed = z.object({ id: generationId });

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LlamapodError("invalid_json", "The frame is not valid JSON.", { cause });
  }
}

function validate(value: unknown): ClientMessage {
  const { data, error } = clientMessage.safeParse(value);
  if (error !== undefined) throw issueToError(error);
  return data;
}

function requestOf(message: GenerateMessage): GenerationRequest {
  const prompt =
    message.messages === undefined
      ? ({ kind: "text", text: message.prompt ?? "" } as const)
      : ({ kind: "chat", messages: message.messages } as const);
  return {
    model: message.model,
    prompt,
    sampling: samplingOf(message),
    maxTokens: message.max_tokens,
    stop: message.stop ?? [],
    ignoreEndOfTurn: false,
  };
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
