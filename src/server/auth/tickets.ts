import { createHash, randomBytes } from "node:crypto";
import type { Caller } from "../../protocol/access.ts";

/** A ticket stands among the subprotocols that a client offers, behind this. */
export const ticketPrefix = "llamapod.ticket.";

export const ticketSeconds = 30;

/** More are not open at once, whoever asks. */
const mostTickets = 10_000;

interface Ticket {
  readonly caller: Caller;
  readonly origin: string | undefined;
  readonly expiresAt: number;
}

/**
 * Browsers cannot send a header with a WebSocket, and what stands in an address is logged. So a key is exchanged for a ticket that
 * opens one connection, soon, for pages of the same origin.
 */
export class Tickets {
  readonly #tickets = new Map<string, Ticket>();

  /** @returns the subprotocol to offer beside `llamapod.v1` */
  issue(caller: Caller, origin: string | undefined): string {
    const secret = randomBytes(16).toString("base64url");
    const now = performance.now();
    for (const [digest, { expiresAt }] of this.#tickets) {
      if (expiresAt > now && this.#tickets.size < mostTickets) break;
      this.#tickets.delete(digest);
    }
    this.#tickets.set(digestOf(secret), { caller, origin, expiresAt: now + ticketSeconds * 1_000 });
    return `${ticketPrefix}${secret}`;
  }

  /** A ticket is worth nothing afterwards, whatever comes of it. */
  redeem(subprotocol: string, origin: string | undefined): Caller | undefined {
    const digest = digestOf(subprotocol.slice(ticketPrefix.length));
    const ticket = this.#tickets.get(digest);
    this.#tickets.delete(digest);
    const isGood = ticket !== undefined && ticket.expiresAt > performance.now() && ticket.origin === origin;
    return isGood ? ticket.caller : undefined;
  }
}

function digestOf(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}
