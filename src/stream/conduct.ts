import { LlamapodError, type ErrorCode } from "../protocol/errors.ts";
import { closeCodes } from "../protocol/stream.ts";
import { Rate } from "./rate.ts";

/** So many messages that are refused, for being bad or too many, in so long a time end the connection. */
const tolerated = { count: 10, withinMs: 10_000 } as const;

/** A client that takes up many answers at once may for a moment send more messages than the limit. */
const burstSeconds = 2;

/** Acknowledgements that are allowed for each other message: who reads many fast answers sends them by the hundred. */
const acknowledgementsForOne = 20;

const badMessages: ReadonlySet<ErrorCode> = new Set(["invalid_json", "invalid_message", "unsupported_parameter"]);

/** Holds the client of a connection to the limits of its messages, whichever protocol it speaks. */
export class Conduct {
  readonly #perSecond: number;
  readonly #messages: Rate;
  readonly #acknowledgements: Rate;
  #refusalTimes: number[] = [];

  constructor(maxMessagesPerSecond: number) {
    this.#perSecond = maxMessagesPerSecond;
    this.#messages = new Rate(maxMessagesPerSecond, burstSeconds);
    this.#acknowledgements = new Rate(maxMessagesPerSecond * acknowledgementsForOne, burstSeconds);
  }

  /** A message has come. @throws {LlamapodError} `too_many_messages` */
  take(): void {
    if (!this.#messages.take()) throw tooMany(this.#perSecond, "messages");
  }

  /** An acknowledgement has come that changes nothing. @throws {LlamapodError} `too_many_messages` */
  takeAcknowledgement(): void {
    if (!this.#acknowledgements.take()) throw tooMany(this.#perSecond * acknowledgementsForOne, "acknowledgements");
  }

  /** A message has been refused. @returns how the connection is to be closed, if that was one too many */
  refused(code: ErrorCode): { readonly code: number; readonly reason: string } | undefined {
    const isTooMany = code === "too_many_messages";
    if (!isTooMany && !badMessages.has(code)) return undefined;
    const now = performance.now();
    this.#refusalTimes = [...this.#refusalTimes.filter((time) => now - time < tolerated.withinMs), now];
    if (this.#refusalTimes.length < tolerated.count) return undefined;
    this.#refusalTimes = [];
    return isTooMany
      ? { code: closeCodes.tooManyMessages, reason: "too many messages" }
      : { code: closeCodes.tooManyBadMessages, reason: "too many bad messages" };
  }
}

function tooMany(perSecond: number, what: string): LlamapodError {
  const message = `More than ${perSecond} ${what} a second are not taken. This one was not handled: send it again.`;
  return new LlamapodError("too_many_messages", message, { retryAfterMs: 1_000 });
}
