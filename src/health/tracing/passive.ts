import type { Span, TraceHeaders, Tracing } from "./span.ts";
import { parseTraceparent } from "./trace-context.ts";

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

  rename(): void {
    // Nobody collects.
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
