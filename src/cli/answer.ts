import { WebSocket } from "ws";
import { ClientError, LlamapodClient, type AnswerRequest, type AnswerResult, type ConnectionState } from "../client/index.ts";
import { CommandError } from "./exit-codes.ts";
import { unreachable, type ServerAccess } from "./server-access.ts";

export type Question = Omit<AnswerRequest, "id">;

/** For how long a server lets an answer go on that nobody reads, if it is not told otherwise. */
const patienceMs = 60_000;

/** Close codes that are about who asks. */
const denials: readonly number[] = [4401, 4403];

/**
 * Asks for an answer, and reads it to its end, over as many connections as it takes. Only the first one has to succeed at once.
 *
 * @param signal aborting stops the answer, which then ends with what there is
 * @throws {CommandError} with the server's reason
 */
export async function answer(
  { url, apiKey }: ServerAccess,
  question: Question,
  onText: (text: string) => void,
  signal: AbortSignal,
): Promise<AnswerResult> {
  const notThere = new AbortController();
  let wasOpen = false;
  let latest: ConnectionState = { kind: "idle" };
  const onConnection = (state: ConnectionState) => {
    latest = state;
    wasOpen ||= state.kind === "open";
    if (state.kind !== "waiting" || wasOpen) return;
    notThere.abort(state.reason === "" ? unreachable(url) : new CommandError("failed", state.reason));
  };
  using client = new LlamapodClient({ url, apiKey, WebSocket, patienceMs, onConnection });
  const asked = client.generate(question, { signal: notThere.signal });
  const cancel = () => asked.cancel();
  signal.addEventListener("abort", cancel);
  if (signal.aborted) cancel();
  try {
    for await (const event of asked) if (event.type === "delta") onText(event.text);
    return await asked.result;
  } catch (thrown) {
    throw thrown instanceof ClientError ? commandError(thrown, latest) : thrown;
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

function commandError(error: ClientError, connection: ConnectionState): CommandError {
  const { code, message } = error;
  if (code === "cancelled") return new CommandError("interrupted", "The answer was interrupted.", error);
  if (code === "unreachable") return new CommandError("unreachable", message, error);
  const isDenied = connection.kind === "refused" && denials.includes(connection.code);
  if (isDenied) return new CommandError("denied", message, error);
  return new CommandError(code.startsWith("model_not") ? "notFound" : "failed", message, error);
}
