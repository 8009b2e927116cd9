import { randomBytes } from "node:crypto";
import type { WebSocket } from "ws";

/** Pings without an answer after which a connection is dead. */
const toleratedSilence = 2;

/**
 * Node never times out an upgraded socket by itself. A pong counts only if it repeats what a ping has said: it shows that the
 * client has read everything before that, and not that it can write.
 *
 * @returns what ends it
 */
export function keepAlive(socket: WebSocket, everySeconds: number, onBeat: () => void): () => void {
  let unanswered: string[] = [];
  socket.on("pong", (payload) => {
    const answered = unanswered.indexOf(payload.toString());
    unanswered = unanswered.slice(answered + 1);
  });
  const timer = setInterval(() => {
    if (unanswered.length >= toleratedSilence) {
      socket.terminate();
      return;
    }
    const payload = randomBytes(8).toString("base64url");
    unanswered.push(payload);
    socket.ping(payload);
    onBeat();
  }, everySeconds * 1_000);
  return () => {
    clearInterval(timer);
  };
}
