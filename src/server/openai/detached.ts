import type { Request, Response } from "express";
import { LlamapodError } from "../../protocol/errors.ts";
import type { Generation } from "../../stream/generation.ts";
import type { Detachment, Generations } from "../../stream/generations.ts";
import type { Reading } from "../../stream/reader.ts";

/** Server-sent events that outlive their connection, for clients that ask for it. */

const header = "Llamapod-Detach";

/** What the request's header says, if it has one. @throws {LlamapodError} */
export function detachmentIn(request: Request, isStream: boolean): Detachment | undefined {
  const value = request.get(header);
  if (value === undefined) return undefined;
  const [, grace, action] = /^grace=(\d{1,9})(?:, *on-expire=(cancel|finish))?$/.exec(value.trim()) ?? [];
  if (grace === undefined) throw wrong(`${header}: must be like grace=30, or grace=30, on-expire=finish.`, header);
  if (!isStream) throw wrong(`${header}: needs stream: true. An answer in one piece cannot be resumed.`, header);
  return { graceMs: Number(grace) * 1_000, onExpire: action === "finish" ? "finish" : "cancel" };
}

/** The last event that the client has, by the header that browsers send or by `starting_after`. @throws {LlamapodError} */
export function lastSeqIn(request: Request, generation: Generation): number {
  const { starting_after: parameter } = request.query;
  const last = request.get("Last-Event-ID");
  const param = last === undefined ? "starting_after" : "Last-Event-ID";
  const text =
    last === undefined ? (parameter ?? "0") : last.startsWith(`${generation.id}:`) ? last.slice(generation.id.length + 1) : "";
  const seq = typeof text === "string" && /^\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (seq <= generation.lastSeq) return seq;
  throw wrong(`${param}: is no event of ${generation.id}, which has ${generation.lastSeq} so far.`, param);
}

/** Reads for as long as the response is open. */
export function readingOf(
  generations: Generations,
  owner: string,
  { id }: Generation,
  connection: symbol,
  response: Response,
): Reading {
  const gone = new AbortController();
  generations.joined(owner, id, connection);
  response.on("close", () => {
    gone.abort();
    if (!response.writableFinished) generations.connectionBroke(owner, connection);
  });
  return {
    signal: gone.signal,
    onReadersChanged: () => {
      generations.readersChanged(owner, id);
    },
  };
}

export function notResumable(id: string): LlamapodError {
  return new LlamapodError("generation_not_found", `Generation ${id} was not asked for with the header ${header}.`, {
    param: "id",
  });
}

function wrong(message: string, param: string): LlamapodError {
  return new LlamapodError("invalid_message", message, { param });
}
