import type { IncomingMessage } from "node:http";
import { requireScope, scopes, type Caller, type Scope } from "../../protocol/access.ts";
import { LlamapodError } from "../../protocol/errors.ts";
import type { KeyRing } from "./keys.ts";
import { ticketPrefix, Tickets } from "./tickets.ts";

/** Everyone, where there are no keys to tell clients apart. */
const anonymous: Caller = { id: "anonymous", scopes: new Set(scopes) };

/** Tells who sent a request. Without a key ring everyone is the same, and may do everything. */
export class Authenticator {
  readonly #keys: KeyRing | undefined;
  readonly #tickets = new Tickets();
  readonly #callers = new WeakMap<IncomingMessage, Caller>();

  constructor(keys: KeyRing | undefined) {
    this.#keys = keys;
  }

  /** By the header. @throws {LlamapodError} `invalid_api_key` */
  authenticate(request: IncomingMessage): void {
    this.#callers.set(request, this.#identify(request, undefined));
  }

  /** By the header, or by the ticket of a WebSocket. @throws {LlamapodError} `invalid_api_key` */
  authenticateUpgrade(request: IncomingMessage): void {
    const offered = (request.headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
    const ticket = offered.find((name) => name.startsWith(ticketPrefix));
    this.#callers.set(request, this.#identify(request, ticket));
  }

  /** @throws {LlamapodError} `insufficient_scope` */
  callerOf(request: IncomingMessage, scope?: Scope): Caller {
    const caller = this.#callers.get(request);
    if (caller === undefined) throw new TypeError("the request has not been authenticated");
    if (scope !== undefined) requireScope(caller, scope);
    return caller;
  }

  issueTicket(request: IncomingMessage): string {
    return this.#tickets.issue(this.callerOf(request), request.headers.origin);
  }

  #identify({ headers }: IncomingMessage, ticket: string | undefined): Caller {
    const byTicket = ticket === undefined ? undefined : this.#tickets.redeem(ticket, headers.origin);
    if (byTicket !== undefined) return byTicket;
    if (this.#keys === undefined) return anonymous;
    const [, secret] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "") ?? [];
    const byKey = secret === undefined ? undefined : this.#keys.find(secret);
    if (byKey !== undefined) return byKey;
    throw new LlamapodError("invalid_api_key", refusal(secret !== undefined, ticket !== undefined));
  }
}

function refusal(hasKey: boolean, hasTicket: boolean): string {
  if (hasTicket) return "The ticket is not valid, or no longer: each is good for one connection within 30 seconds.";
  if (hasKey) return "The API key is not one that this server knows.";
  return "This server asks for an API key: send the header Authorization: Bearer KEY.";
}
