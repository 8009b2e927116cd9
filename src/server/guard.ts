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
  if (origin === undefined || settings.allowedOrigins.includes(origin) || isSameOrigin(origin, host)) return;
  throw new LlamapodError(
    "origin_not_allowed",
    `Pages of ${origin} may not use this server. Start it with --allowed-origins ${origin} if they should.`,
  );
}

function hostName(host: string): string | undefined {
  return parseUrl(`http://${host}`)?.hostname;
}

/** The page's own server may have a TLS proxy before it, so the scheme does not count. */
function isSameOrigin(origin: string, host: string): boolean {
  return parseUrl(origin)?.host === host.toLowerCase();
}

function parseUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}
