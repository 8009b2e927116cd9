import { once } from "node:events";
import type { Response } from "express";
import { LlamapodError } from "../../protocol/errors.ts";
import type { ServerMessageOf } from "../../protocol/stream.ts";
import type { Generation } from "../../stream/generation.ts";
import { framesOf, type Reading } from "../../stream/reader.ts";
import { errorEnvelope } from "../problem.ts";
import { choice, finishReason, usage, type Rendering } from "./rendering.ts";

export interface AnswerOptions {
  readonly model: string;
  readonly rendering: Rendering;
  readonly includeUsage: boolean;
  /** When it was asked for, in seconds since 1970. */
  readonly created: number;
}

/** Proxies close a connection on which nothing moves; a comment keeps it open. */
const pingMs = 15_000;

/** How long the first byte waits for the first event, so that an early error can still be an HTTP status. */
const patienceMs = 10_000;

/** The answer in one piece. @throws {LlamapodError} what the generation failed with */
export async function answerWhole(
  generation: Generation,
  response: Response,
  { model, rendering, created }: AnswerOptions,
  reading: Reading,
): Promise<void> {
  let text = "";
  for await (const frame of framesOf(generation, reading)) {
    if (frame.type === "delta") text += frame.text;
    if (frame.type === "error") throw errorOf(frame);
    if (frame.type !== "done") continue;
    response.json({
      id: generation.id,
      object: rendering.wholeObject,
      created,
      model,
      choices: [choice(rendering.whole(text), finishReason(frame))],
      usage: usage(frame),
      timings: frame.timings,
    });
  }
}

/**
 * The answer as server-sent events, ending in `data: [DONE]`.
 *
 * @throws {LlamapodError} what the generation failed with, as long as no header has been sent
 */
export async function answerStreaming(
  generation: Generation,
  response: Response,
  { model, rendering, includeUsage, created }: AnswerOptions,
  reading: Reading,
): Promise<void> {
  const stream = new EventStream(response);
  const common = { id: generation.id, object: rendering.chunkObject, created, model };
  const patience = setTimeout(() => {
    stream.open();
  }, patienceMs);
  try {
    for await (const frame of framesOf(generation, reading)) {
      clearTimeout(patience);
      if (frame.type === "error") {
        if (!stream.isOpen) throw errorOf(frame);
        await stream.write(errorEnvelope(errorOf(frame)));
        break;
      }
      stream.open();
      const id = `${generation.id}:${frame.seq}`;
      if (frame.type === "started" && rendering.opening !== undefined) {
        await stream.write({ ...common, choices: [choice(rendering.opening, null)] }, id);
      } else if (frame.type === "delta") {
        await stream.write({ ...common, choices: [choice(rendering.chunk(frame.text), null)] }, id);
      } else if (frame.type === "done") {
        const closing = choice(rendering.closing, finishReason(frame));
        await stream.write({ ...common, choices: [closing], timings: frame.timings }, id);
        if (includeUsage) await stream.write({ ...common, choices: [], usage: usage(frame) });
      }
    }
    stream.open();
    stream.end();
  } finally {
    clearTimeout(patience);
    stream.stopPings();
  }
}

class EventStream {
  isOpen = false;
  readonly #response: Response;
  #pings: NodeJS.Timeout | undefined;

  constructor(response: Response) {
    this.#response = response;
  }

  open(): void {
    if (this.isOpen) return;
    this.isOpen = true;
    this.#response.status(200).set({
      "Content-Type": "text/event-stream; charset=utf-8",
      "Cache-Control": "no-cache, no-transform",
      "X-Accel-Buffering": "no",
    });
    this.#response.flushHeaders();
    this.#pings = setInterval(() => this.#response.write(": ping\n\n"), pingMs);
  }

  /** Resolves when the reader has room for more. */
  async write(data: unknown, id?: string): Promise<void> {
    const event = `${id === undefined ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`;
    if (this.#response.write(event) || this.#response.closed) return;
    await Promise.race([once(this.#response, "drain"), once(this.#response, "close")]);
  }

  end(): void {
    this.#response.end("data: [DONE]\n\n");
  }

  stopPings(): void {
    clearInterval(this.#pings);
  }
}

function errorOf({ code, message, param, retry_after_ms: retryAfterMs }: ServerMessageOf<"error">): LlamapodError {
  return new LlamapodError(code, message, {
    ...(param !== undefined && { param }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}
