import { sum } from "../client/statistics.ts";
import type { ContentChunk, StreamTrace } from "../client/stream.ts";

/** Milliseconds from sending the request to the first content chunk. */
export function timeToFirstToken(stream: StreamTrace): number {
  return (stream.chunks.at(0)?.at ?? Number.NaN) - stream.sentAt;
}

export interface Gap {
  readonly from: number;
  readonly to: number;
}

/** The times between consecutive content chunks of one stream. */
export function gaps({ chunks }: StreamTrace): Gap[] {
  return chunks.slice(1).map((chunk, index) => ({ from: chunks[index]?.at ?? Number.NaN, to: chunk.at }));
}

export function durations(of: readonly Gap[]): number[] {
  return of.map(({ from, to }) => to - from);
}

/**
 * Tokens per second while every stream decodes: from the moment the last of them got its first chunk to the moment the first of
 * them got its last. A chunk counts for as many tokens as the chunks of its stream have on average, and one that an edge cuts
 * for the part of it within. NaN if the streams never all decode at the same time.
 */
export function decodeRate(streams: readonly StreamTrace[]): number {
  const from = Math.max(...streams.map(({ chunks }) => chunks.at(0)?.at ?? Number.NaN));
  const to = Math.min(...streams.map(({ chunks }) => chunks.at(-1)?.at ?? Number.NaN));
  if (!(to > from)) return Number.NaN;
  const tokens = streams.map((stream) => (chunksUntil(stream, to) - chunksUntil(stream, from)) * tokensPerChunk(stream));
  return sum(tokens) / ((to - from) / 1000);
}

/** As if a chunk built up evenly from the one before it. The time lies between the stream's first chunk and its last. */
function chunksUntil({ chunks }: StreamTrace, time: number): number {
  const next = chunks.findIndex(({ at }) => at > time);
  const before = chunks.at(next - 1)?.at ?? Number.NaN;
  const after = chunks[next]?.at;
  return after === undefined ? chunks.length : next + (time - before) / (after - before);
}

/** All tokens of all answers, over the time from the first request to the last chunk. */
export function outputRate(streams: readonly StreamTrace[]): number {
  const from = Math.min(...streams.map(({ sentAt }) => sentAt));
  const to = Math.max(...streams.map(({ chunks }) => chunks.at(-1)?.at ?? Number.NaN));
  return generatedTokens(streams) / ((to - from) / 1000);
}

export function generatedTokens(streams: readonly StreamTrace[]): number {
  return sum(streams.map(({ usage }) => usage?.completion_tokens ?? Number.NaN));
}

/** More than 1 where a server puts several tokens into one chunk, or a character takes several tokens. */
export function tokensPerChunk(stream: StreamTrace): number {
  return generatedTokens([stream]) / stream.chunks.length;
}

/** Chunks that came after `from`, up to and including `to`. */
export function chunksWithin(stream: StreamTrace, { from, to }: Gap): ContentChunk[] {
  return stream.chunks.filter(({ at }) => at > from && at <= to);
}
