import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Span, Tracing } from "../health/tracing/span.ts";

/** What ties together all that is said about one request: log lines, exemplars, spans. */
export interface Correlation {
  readonly requestId: string;
  readonly span: Span;
}

export const requestIdHeader = "X-Request-Id";

/** Of a request whose sender has given it a name. Anything else could forge log lines. */
const acceptable = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/;

export class Correlations {
  readonly #tracing: Tracing;
  readonly #known = new WeakMap<IncomingMessage, Correlation>();

  constructor(tracing: Tracing) {
    this.#tracing = tracing;
  }

  begin(request: IncomingMessage): Correlation {
    const given = textOf(request.headers[requestIdHeader.toLowerCase()]);
    const headers = { traceparent: textOf(request.headers["traceparent"]), tracestate: textOf(request.headers["tracestate"]) };
    const correlation = {
      requestId: given !== undefined && acceptable.test(given) ? given : randomUUID(),
      span: this.#tracing.serve(request.method ?? "", headers, performance.now()),
    };
    this.#known.set(request, correlation);
    return correlation;
  }

  of(request: IncomingMessage): Correlation {
    const correlation = this.#known.get(request);
    if (correlation === undefined) throw new TypeError("the request has not been given an id");
    return correlation;
  }
}

function textOf(header: string | string[] | undefined): string | undefined {
  return typeof header === "string" ? header : undefined;
}
