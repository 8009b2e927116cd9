import type { Logger } from "pino";
import type { Caller } from "../../../protocol/access.ts";
import { describeError, LlamapodError, toLlamapodError } from "../../../protocol/errors.ts";
import { parseRequest } from "../../../protocol/openai.ts";
import { parseFrame } from "../../../protocol/validation.ts";
import { responseCreate } from "../../../protocol/responses.ts";
import type { Limits } from "../../../protocol/limits.ts";
import { Conduct } from "../../../stream/conduct.ts";
import { logMistake } from "../../../stream/mistakes.ts";
import type { SocketSession, Transport } from "../../../stream/session.ts";
import type { ConnectionMetrics } from "../../../health/metrics/connection-metrics.ts";
import type { Correlation } from "../../correlation.ts";
import type { Responder } from "./responder.ts";

/** Requests of one lane that may wait for the one before them. */
const mostWaiting = 64;

/** What those that wait may take of memory, in messages of the greatest size. */
const mostWaitingMessages = 4;

export interface ResponsesSessionContext {
  readonly responder: Responder;
  readonly limits: Limits;
  readonly metrics: ConnectionMetrics;
  readonly log: Logger;
  /** What everything is said under that comes over the connection. */
  readonly correlation: Correlation;
}

/**
 * OpenAI's WebSocket mode of the Responses API: `response.create` in, the events of its streams out. Requests are answered in
 * order, but for those that name lanes of their own. As there, a response does not outlive its connection.
 */
export class ResponsesSession implements SocketSession {
  readonly #transport: Transport;
  readonly #caller: Caller;
  readonly #context: ResponsesSessionContext;
  readonly #conduct: Conduct;
  readonly #mostWaitingBytes: number;
  readonly #gone = new AbortController();
  readonly #lanes = new Map<string | undefined, Promise<void>>();
  #waiting = 0;
  #waitingBytes = 0;
  #wakes: (() => void)[] = [];
  #lastMessageAt = performance.now();

  constructor(transport: Transport, caller: Caller, context: ResponsesSessionContext) {
    const { maxMessagesPerSecond, maxMessageBytes } = context.limits;
    this.#conduct = new Conduct(maxMessagesPerSecond);
    this.#mostWaitingBytes = maxMessageBytes * mostWaitingMessages;
    this.#transport = transport;
    this.#caller = caller;
    this.#context = context;
  }

  get idleMs(): number {
    return this.#waiting > 0 ? 0 : performance.now() - this.#lastMessageAt;
  }

  receive(text: string): void {
    this.#lastMessageAt = performance.now();
    try {
      const { stream_id: lane, ...request } = parseRequest(responseCreate, parseFrame(text));
      this.#context.metrics.received("response.create");
      this.#conduct.take();
      const bytes = text.length;
      this.#checkRoom(bytes);
      this.#waiting++;
      this.#waitingBytes += bytes;
      const before = this.#lanes.get(lane) ?? Promise.resolve();
      const answered = before
        .then(() => this.#answer(request, lane))
        .catch((thrown: unknown) => {
          this.#fail(toLlamapodError(thrown), lane);
        })
        .finally(() => {
          this.#waiting--;
          this.#waitingBytes -= bytes;
          if (this.#lanes.get(lane) === answered) this.#lanes.delete(lane);
        });
      this.#lanes.set(lane, answered);
    } catch (thrown) {
      this.#fail(toLlamapodError(thrown), undefined);
    }
  }

  drained(): void {
    const wakes = this.#wakes;
    this.#wakes = [];
    for (const wake of wakes) wake();
  }

  notifyDraining(): void {
    // OpenAI's protocol has no word for it: the connection ends with 1001, after which its clients connect again.
  }

  closed(): void {
    this.#gone.abort();
    this.drained();
  }

  /** @throws {LlamapodError} `generation_share_exceeded` */
  #checkRoom(bytes: number): void {
    if (this.#waiting < mostWaiting && this.#waitingBytes + bytes <= this.#mostWaitingBytes) return;
    const message =
      this.#waiting < mostWaiting
        ? `The requests that wait on this connection have ${this.#mostWaitingBytes} characters, which is the limit.`
        : `${mostWaiting} requests wait on this connection, which is the limit.`;
    throw new LlamapodError("generation_share_exceeded", message);
  }

  async #answer(request: Parameters<Responder["respond"]>[1], lane: string | undefined): Promise<void> {
    if (this.#gone.signal.aborted) return;
    const { responder, correlation } = this.#context;
    const responding = responder.respond(this.#caller, request, { transport: "ws", ...correlation });
    for await (const events of responding.stream(this.#gone.signal)) {
      for (const event of events) {
        this.#send(event, lane);
        if (this.#transport.congested) await new Promise<void>((resolve) => this.#wakes.push(resolve));
      }
    }
  }

  #fail(error: LlamapodError, lane: string | undefined): void {
    const { log, correlation } = this.#context;
    logMistake(log, error, { request_id: correlation.requestId });
    const { code, message, param } = error;
    const { type, status } = describeError(code);
    this.#send({ type: "error", status, error: { type, code, message, param: param ?? null } }, lane);
    const closing = this.#conduct.refused(code);
    if (closing !== undefined) this.#transport.close(closing.code, closing.reason);
  }

  #send(event: Readonly<Record<string, unknown>> & { readonly type: string }, lane: string | undefined): void {
    if (this.#gone.signal.aborted) return;
    const text = JSON.stringify(lane === undefined ? event : { ...event, stream_id: lane });
    this.#context.metrics.sent(event.type, Buffer.byteLength(text));
    this.#transport.send(text);
  }
}
