import { request as requestHttp, type IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import { buffer } from "node:stream/consumers";
import { version } from "../../version.ts";
import { assertPublicHost, publicLookup } from "./address.ts";
import { DownloadError, TransientError } from "./errors.ts";

export interface Target {
  readonly url: URL;
  /** Sent to the server of `url` and to no other. */
  readonly authorization: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An answer after all redirects. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: IncomingMessage;
  /** Where it came from in the end. */
  readonly url: URL;
  /** Headers of the first answer that had them: Hugging Face names size and digest before it redirects. */
  readonly first: IncomingMessage["headers"];
}

const redirectLimit = 8;
const silenceMs = 30_000;

/**
 * Asks, and follows redirects. What the operator named may be anywhere and plain HTTP; what it redirects to must be HTTPS (or HTTP where it
 * began so) and public, unless it is the same server.
 *
 * @throws {TransientError} when the connection fails; {DownloadError} `denied`, `cancelled`
 */
export async function ask(method: "GET" | "HEAD", target: Target, signal: AbortSignal): Promise<Answer> {
  const origin = target.url;
  let url = origin;
  let first: IncomingMessage["headers"] | undefined;
  for (let redirects = 0; redirects <= redirectLimit; redirects++) {
    const isTrusted = isSameServer(url, origin);
    const body = await once(method, url, isTrusted ? target : { ...target, authorization: undefined }, isTrusted, signal);
    first ??= body.headers;
    const { location } = body.headers;
    const status = body.statusCode ?? 0;
    if (location === undefined || ![301, 302, 303, 307, 308].includes(status)) {
      return { status, headers: body.headers, body, url, first };
    }
    body.resume();
    url = redirected(url, location, origin);
  }
  throw new DownloadError("unreachable", `${origin.href} redirects more than ${redirectLimit} times.`);
}

/** A server that sends from plain HTTP to HTTPS is still the one that the operator named, where both have their usual ports. */
function isSameServer(url: URL, origin: URL): boolean {
  if (url.protocol === origin.protocol) return url.host === origin.host;
  const isUpgrade = origin.protocol === "http:" && url.protocol === "https:";
  return isUpgrade && url.hostname === origin.hostname && origin.port === "" && url.port === "";
}

function redirected(from: URL, location: string, origin: URL): URL {
  if (!URL.canParse(location, from.href))
    throw new DownloadError("unreachable", `${from.host} redirects to ${location}, which is no address.`);
  const to = new URL(location, from);
  const allowed = to.protocol === "https:" || (to.protocol === "http:" && origin.protocol === "http:");
  if (!allowed) {
    throw new DownloadError(
      "denied",
      `${from.host} redirects to ${to.protocol}//${to.host}, and only https is followed from there.`,
    );
  }
  return to;
}

function once(
  method: "GET" | "HEAD",
  url: URL,
  { authorization, headers = {} }: Omit<Target, "url">,
  isTrusted: boolean,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  if (!isTrusted) assertPublicHost(url.hostname);
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? requestHttps : requestHttp)(url, {
      method,
      signal,
      headers: {
        "User-Agent": `llamapod/${version}`,
        "Accept-Encoding": "identity",
        ...headers,
        ...(authorization !== undefined && { Authorization: authorization }),
      },
      ...(!isTrusted && { lookup: publicLookup }),
    });
    request.setTimeout(silenceMs, () => request.destroy(new Error(`it said nothing for ${silenceMs / 1_000} s`)));
    request.on("response", resolve);
    request.on("error", (error) => {
      if (signal.aborted) reject(cancelled());
      else if (error instanceof DownloadError) reject(error);
      else reject(new TransientError(`${url.host} cannot be reached: ${error.message || codeOf(error)}`, { cause: error }));
    });
    request.end();
  });
}

/** A small document, such as a manifest. @throws {TransientError} when it is cut off; {DownloadError} when it is too long */
export async function bytesOf(answer: Answer): Promise<Buffer> {
  const limit = 8 * 1024 * 1024;
  const length = Number(answer.headers["content-length"] ?? 0);
  if (length > limit)
    throw new DownloadError("unreachable", `${answer.url.host} sends ${length} bytes where a short document was expected.`);
  let seen = 0;
  answer.body.on("data", (chunk: Buffer) => {
    seen += chunk.length;
    if (seen > limit) answer.body.destroy(new Error("the document is too long"));
  });
  try {
    return await buffer(answer.body);
  } catch (cause) {
    throw new TransientError(`${answer.url.host} broke off its answer`, { cause });
  }
}

/** Like `bytesOf`. */
export async function textOf(answer: Answer): Promise<string> {
  return new TextDecoder().decode(await bytesOf(answer));
}

export function cancelled(): DownloadError {
  return new DownloadError("cancelled", "The download was stopped. The same command takes it up again.");
}

function codeOf(error: Error): string {
  return "code" in error ? String(error.code) : error.name;
}
