import { createHash } from "node:crypto";
import { request, type IncomingMessage } from "node:http";
import { z } from "zod";
import { SseParser } from "./sse.ts";

/** The one client of all servers: it asks for a stream and notes when what arrives. Times are of `performance.now()`. */

export interface StreamRequest {
  /** What the stream is called in reports. */
  readonly label: string;
  readonly path: "/v1/completions" | "/v1/chat/completions";
  readonly body: Readonly<Record<string, unknown>>;
  /** Called at each chunk with text in it. */
  readonly onContent?: () => void;
  /** Closes the connection; the stream then ends without `usage`. */
  readonly signal?: AbortSignal;
}

export interface ContentChunk {
  readonly at: number;
  readonly characters: number;
}

export interface StreamTrace {
  readonly label: string;
  readonly requestSha256: string;
  readonly sentAt: number;
  readonly endedAt: number;
  /** Only chunks with text in them: role announcements, usage and empty deltas are not content. */
  readonly chunks: readonly ContentChunk[];
  readonly text: string;
  readonly finishReason: string | undefined;
  readonly usage: Usage | undefined;
}

const usage = z.object({
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  prompt_tokens_details: z.object({ cached_tokens: z.int().optional() }).nullish(),
});

type Usage = z.output<typeof usage>;

const delta = z.object({ content: z.string().nullish(), reasoning_content: z.string().nullish() });

const event = z.object({
  choices: z
    .array(z.object({ text: z.string().optional(), delta: delta.optional(), finish_reason: z.string().nullish() }))
    .default([]),
  usage: usage.nullish(),
  error: z.object({ message: z.string() }).optional(),
});

type Answer = Omit<StreamTrace, "label" | "requestSha256" | "sentAt">;

/** A long prompt of a large model takes minutes on a slow machine, and nothing is sent meanwhile. */
const silenceLimitMs = 30 * 60 * 1000;

/** Sends a request on a connection of its own and follows its answer to the end. */
export async function openStream(port: number, wanted: StreamRequest): Promise<StreamTrace> {
  const body = JSON.stringify(wanted.body);
  const headers = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body), Accept: "text/event-stream" };
  const sentAt = performance.now();
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = request(
        {
          host: "127.0.0.1",
          port,
          path: wanted.path,
          method: "POST",
          headers,
          agent: false,
          timeout: silenceLimitMs,
          ...(wanted.signal && { signal: wanted.signal }),
        },
        resolve,
      );
      outgoing.on("error", reject);
      outgoing.on("timeout", () => outgoing.destroy(new Error(`${wanted.label}: no answer within ${silenceLimitMs} ms`)));
      outgoing.end(body);
    });
    const answer = await follow(response, wanted);
    return { label: wanted.label, requestSha256: createHash("sha256").update(body).digest("hex"), sentAt, ...answer };
  } catch (thrown) {
    throw new Error(`${wanted.label}: ${thrown instanceof Error ? thrown.message : String(thrown)}`, { cause: thrown });
  }
}

async function follow(response: IncomingMessage, wanted: StreamRequest): Promise<Answer> {
  response.setEncoding("utf8");
  if (response.statusCode !== 200) {
    throw new Error(`HTTP ${response.statusCode}: ${(await response.toArray()).join("").slice(0, 500)}`);
  }
  const parser = new SseParser();
  const chunks: ContentChunk[] = [];
  const texts: string[] = [];
  const end: { finishReason?: string; usage?: Usage; done: boolean } = { done: false };

  const take = (data: string, at: number): void => {
    if (data === "[DONE]") {
      end.done = true;
      return;
    }
    const { choices, usage, error } = event.parse(JSON.parse(data));
    if (error !== undefined) throw new Error(`the stream ended in an error: ${error.message}`);
    if (usage) end.usage = usage;
    for (const choice of choices) {
      const text = choice.text ?? (choice.delta?.reasoning_content ?? "") + (choice.delta?.content ?? "");
      if (choice.finish_reason) end.finishReason = choice.finish_reason;
      if (text === "") continue;
      chunks.push({ at, characters: text.length });
      texts.push(text);
      wanted.onContent?.();
    }
  };

  await new Promise<void>((resolve, reject) => {
    response.on("data", (piece: string) => {
      const at = performance.now();
      try {
        for (const data of parser.push(piece)) take(data, at);
      } catch (thrown) {
        response.destroy(thrown instanceof Error ? thrown : new Error(String(thrown)));
      }
    });
    response.on("end", resolve);
    response.on("error", (error) => {
      if (wanted.signal?.aborted === true) resolve();
      else reject(error);
    });
  });
  if (!end.done && wanted.signal?.aborted !== true) throw new Error("the stream ended without [DONE]");
  return {
    endedAt: performance.now(),
    chunks,
    text: texts.join(""),
    finishReason: end.finishReason,
    usage: end.usage,
  };
}

/** Both servers must have done the same work, or their times mean nothing. */
export function assertGenerated(trace: StreamTrace, tokens: number): void {
  const { label, usage, finishReason, chunks } = trace;
  if (usage === undefined) throw new Error(`${label}: the server sent no usage`);
  if (usage.completion_tokens !== tokens || finishReason !== "length") {
    throw new Error(
      `${label}: asked for exactly ${tokens} tokens, got ${usage.completion_tokens} and finish_reason ${finishReason ?? "none"}`,
    );
  }
  if (chunks.length === 0) throw new Error(`${label}: ${tokens} tokens without any text`);
}
