import type { Span, TraceHeaders, Tracing } from "./span.ts";

/** Traces nothing, and passes on the trace that a request is part of, so that log lines and exemplars can name it. */
export const passiveTracing: Tracing = {
  serve: (_name, headers) => new PassiveSpan(headers),
  close: () => Promise.resolve(),
};

class PassiveSpan implements Span {
  readonly traceId: string | undefined;
  readonly traceparent: string | undefined;

  constructor({ traceparent }: TraceHeaders) {
    const parent = parseTraceparent(traceparent);
    this.traceId = parent?.traceId;
    this.traceparent = parent === undefined ? undefined : traceparent;
  }

  child(): Span {
    return this;
  }

  set(): void {
    // Nobody collects.
  }

  fail(): void {
    // Nobody collects.
  }

  end(): void {
    // Nobody collects.
  }
}

/** As W3C's Trace Context has it; anything else is as if it were absent. */
function parseTraceparent(header: string | undefined): { readonly traceId: string } | undefined {
  const [, version, traceId, parentId] = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(header ?? "") ?? [];
  if (version === undefined || version === "ff" || traceId === undefined || parentId === undefined) return undefined;
  return /^0+$/.test(traceId) || /^0+$/.test(parentId) ? undefined : { traceId };
}
