/** Attributes of a span, under OpenTelemetry's names where it has some. */
export type Attributes = Readonly<Record<string, string | number | boolean>>;

/** A stretch of work in a trace. Times are those of `performance.now()`. */
export interface Span {
  /** Undefined where there is no trace. */
  readonly traceId: string | undefined;
  /** What the next one in the chain is told, in the form of W3C's header. */
  readonly traceparent: string | undefined;
  child(name: string, startedAt: number, attributes?: Attributes): Span;
  rename(name: string): void;
  set(attributes: Attributes): void;
  /** @param type what kind of error, in a word */
  fail(type: string): void;
  end(endedAt?: number): void;
}

/** The work that a request from outside is. */
export interface Tracing {
  /** @param startedAt of `performance.now()` */
  serve(name: string, headers: TraceHeaders, startedAt: number): Span;
  /** Sends what has not been sent. */
  close(): Promise<void>;
}

export interface TraceHeaders {
  readonly traceparent?: string | undefined;
  readonly tracestate?: string | undefined;
}
