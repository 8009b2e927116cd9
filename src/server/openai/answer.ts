import type { Response } from "express";
import { LlamapodError } from "../../protocol/errors.ts";
import type { ServerMessageOf } from "../../protocol/stream.ts";
import type { ToolCallDelta } from "../../protocol/tools.ts";
import { callsOf } from "../../stream/calls/call-deltas.ts";
import type { Generation } from "../../stream/generation.ts";
import { framesOf, type Reading } from "../../stream/reader.ts";
import { errorEnvelope } from "../problem.ts";
import { EventStream, patienceMs } from "./event-stream.ts";
import { choice, finishReason, usage, type Rendering } from "./rendering.ts";

export interface AnswerOptions {
  readonly model: string;
  readonly rendering: Rendering;
  readonly includeUsage: boolean;
  /** Whether it may be read over several connections, so that its reader may want to check what it has put together. */
  readonly isResumable: boolean;
  /** When it was asked for, in seconds since 1970. */
  readonly created: number;
  /** How long a reader may take nothing of what waits for it. */
  readonly stallSeconds: number;
}

/** The answer in one piece. @throws {LlamapodError} what the generation failed with */
export async function answerWhole(
  generation: Generation,
  response: Response,
  { model, rendering, created }: AnswerOptions,
  reading: Reading,
): Promise<void> {
  let text = "";
  const calls: ToolCallDelta[] = [];
  for await (const frame of framesOf(generation, reading)) {
    if (frame.type === "delta") {
      text += frame.text;
      calls.push(...(frame.tool_calls ?? []));
    }
    if (frame.type === "error") throw errorOf(frame);
    if (frame.type !== "done") continue;
    response.json({
      id: generation.id,
      object: rendering.wholeObject,
      created,
      model,
      choices: [choice(rendering.whole(text, callsOf(calls)), finishReason(frame))],
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
  { model, rendering, includeUsage, isResumable, created, stallSeconds }: AnswerOptions,
  reading: Reading,
): Promise<void> {
  const stream = new EventStream(response, stallSeconds);
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
        await stream.write({ ...common, choices: [choice(rendering.opening, null)] }, { id });
      } else if (frame.type === "delta") {
        await stream.write({ ...common, choices: [choice(rendering.chunk(frame), null)] }, { id });
      } else if (frame.type === "done") {
        const closing = choice(rendering.closing, finishReason(frame));
        const { timings, text_sha256 } = frame;
        const ending = { ...common, choices: [closing], timings, ...(isResumable && { text_sha256 }) };
        // The last chunk alone has the id: whoever resumes after it has everything.
        await stream.write(ending, includeUsage ? {} : { id });
        if (includeUsage) await stream.write({ ...common, choices: [], usage: usage(frame) }, { id });
      }
    }
    stream.open();
    stream.end();
  } finally {
    clearTimeout(patience);
    stream.stopPings();
  }
}

/** What a generation failed with, to be thrown. */
export function errorOf({ code, message, param, retry_after_ms: retryAfterMs }: ServerMessageOf<"error">): LlamapodError {
  return new LlamapodError(code, message, {
    ...(param !== undefined && { param }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}
