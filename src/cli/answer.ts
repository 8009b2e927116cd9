import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { ClientMessageInput, ServerMessageOf } from "../protocol/stream.ts";
import { CommandError } from "./exit-codes.ts";
import type { ServerAccess } from "./server-access.ts";
import { ConnectionLost, StreamConnection } from "./stream-connection.ts";

export type Question = Omit<Extract<ClientMessageInput, { type: "generate" }>, "type" | "id">;

const reconnectMs = 500;
const reconnectAttempts = 20;

/** Every so many events, the server learns what has arrived. */
const ackEvery = 16;

/**
 * Asks for an answer, and reads it to its end, over as many connections as it takes.
 *
 * @param signal aborting stops the answer, which then ends with what there is
 * @throws {CommandError} with the server's reason
 */
export async function answer(
  access: ServerAccess,
  question: Question,
  onText: (text: string) => void,
  signal: AbortSignal,
): Promise<ServerMessageOf<"done">> {
  const id = randomUUID();
  const progress = { last: 0 };
  for (let attempt = 0; ; attempt++) {
    const before = progress.last;
    try {
      using connection = await StreamConnection.open(access);
      const cancel = () => {
        connection.send({ type: "cancel", id });
      };
      // The same request again is no second one: its id says so.
      if (progress.last === 0) connection.send({ type: "generate", id, ...question });
      else connection.send({ type: "resume", id, after: progress.last });
      signal.addEventListener("abort", cancel);
      if (signal.aborted) cancel();
      try {
        return await read(connection, id, progress, onText);
      } finally {
        signal.removeEventListener("abort", cancel);
      }
    } catch (thrown) {
      const isLost =
        thrown instanceof ConnectionLost || (attempt > 0 && thrown instanceof CommandError && thrown.reason === "unreachable");
      if (isLost && signal.aborted) throw new CommandError("interrupted", "The answer was interrupted.", thrown);
      if (!isLost) throw thrown;
      if (attempt >= reconnectAttempts) {
        throw new CommandError(
          "unreachable",
          `The connection was lost, and ${reconnectAttempts} tries have not brought it back.`,
          thrown,
        );
      }
      if (progress.last > before) attempt = 0;
      await sleep(reconnectMs);
    }
  }
}

async function read(
  connection: StreamConnection,
  id: string,
  progress: { last: number },
  onText: (text: string) => void,
): Promise<ServerMessageOf<"done">> {
  let acknowledged = progress.last;
  for (;;) {
    const message = await connection.next();
    if (message.type === "error" && (message.id === undefined || message.id === id)) {
      throw new CommandError(message.code.startsWith("model_not") ? "notFound" : "failed", message.message);
    }
    if (message.type !== "started" && message.type !== "delta" && message.type !== "done") continue;
    if (message.id !== id || message.seq <= progress.last) continue;
    if (message.first !== progress.last + 1) {
      connection.send({ type: "resume", id, after: progress.last });
      continue;
    }
    progress.last = message.seq;
    if (message.type === "delta") onText(message.text);
    if (message.type === "done" || progress.last - acknowledged >= ackEvery) {
      acknowledged = progress.last;
      connection.send({ type: "ack", id, seq: progress.last });
    }
    if (message.type === "done") return message;
  }
}
