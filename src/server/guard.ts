import type { IncomingMessage } from "node:http";
import { LlamapodError } from "../protocol/errors.ts";

export interface GuardSettings {
  readonly allowedHosts: readonly string[];
  readonly allowedOrigins: readonly string[];
}

const loopbackNames = ["localhost", "127.0.0.1", "[::1]"];

/**
 * Refuses requests that a foreign web page makes through a visitor's browser: by a name of its own that it has pointed
 * at this server (DNS rebinding), or across origins. What the server listens on says nothing here: in a container it is
 * always every address.
 *
 * @throws {LlamapodError} `host_not_allowed`, `origin_not_allowed`
 */
export function guard(request: IncomingMessage, settings: GuardSettings): void {
  const host = request.headers.host ?? "";
  const name = hostName(host);
  if (name === undefined || ![...loopbackNames, ...settings.allowedHosts].includes(name)) {
    throw new LlamapodError(
      "host_not_allowed",
      `This server does not answer to the host name ${JSON.stringify(host)}. Start it with --allowed-hosts ${name ?? "NAME"} if it should.`,
    );
  }
  const { origin } = request.headers;
  if (origin === undefined || settings.allowedOrigins.includes(origin) || isSameOrigin(origin, host, schemeOf(request))) return;
  throw new LlamapodError(
    "origin_not_allowed",
    `Pages of ${origin} may not use this server. Start it with --allowed-origins ${origin} if they should.`,
  );
}

function hostName(host: string): string | undefined {
  return parseUrl(`http://${host}`)?.hostname;
}

/**
 * How the client has reached this server, as far as a proxy with TLS before it says so. Without that it is not known. No page can
 * make the header up: a browser asks first, and is refused.
 */
function schemeOf({ headers }: IncomingMessage): string | undefined {
  const forwarded = [headers["x-forwarded-proto"]].flat()[0]?.split(",")[0]?.trim().toLowerCase();
  return forwarded === undefined || forwarded === "" ? undefined : `${forwarded}:`;
}

/** A page that came without TLS may be anybody's, and is another origin than the one with TLS. */
function isSameOrigin(origin: string, host: string, scheme: string | undefined): boolean {
  const page = parseUrl(origin);
  return page?.host === host.toLowerCase() && (scheme === undefined || page.protocol === scheme);
}

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}
