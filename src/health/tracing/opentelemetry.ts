import {
  createTraceState,
  diag,
  DiagLogLevel,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Context,
} from "@opentelemetry/api";
import type { Span as OtelApiSpan, Tracer } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import { BasicTracerProvider, BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import type { Attributes, Span, TraceHeaders, Tracing } from "./span.ts";
import { parseTraceparent } from "./trace-context.ts";

/** How long the last spans may take to be sent. */
const closeGraceMs = 5_000;

/**
 * Traces that go to a collector, by OTLP over HTTP. Where to, how many and under which name is said by the environment variables
 * that OpenTelemetry defines: the SDK reads them. Only `open.ts` imports this file, and only where there is a collector.
 */
export class OpenTelemetry implements Tracing {
  readonly #provider: BasicTracerProvider;
  readonly #tracer: Tracer;

  readonly #complain: (message: string) => void;

  constructor(version: string, complain: (message: string) => void) {
    this.#complain = complain;
    const ignore = () => undefined;
    diag.setLogger({ error: complain, warn: complain, info: ignore, debug: ignore, verbose: ignore }, DiagLogLevel.WARN);
    const own = resourceFromAttributes({ "service.name": "llamapod", "service.version": version });
    const named = detectResources({ detectors: [envDetector] });
    this.#provider = new BasicTracerProvider({
      resource: defaultResource().merge(own).merge(named),
      spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
    });
    this.#tracer = this.#provider.getTracer("llamapod", version);
  }

  serve(name: string, headers: TraceHeaders, startedAt: number): Span {
    // One for all spans of a request, so that they fit together although clocks are set now and then.
    const clockOffset = Date.now() - performance.now();
    const options = { kind: SpanKind.SERVER, startTime: startedAt + clockOffset };
    return new OtelSpan(this.#tracer, this.#tracer.startSpan(name, options, remoteContext(headers)), clockOffset);
  }

  async close(): Promise<void> {
    const sent = this.#provider.shutdown().catch((thrown: unknown) => {
      this.#complain(thrown instanceof Error ? thrown.message : String(thrown));
    });
    // A collector that does not answer must not hold the server up.
    const deadline = new Promise<void>((resolve) => setTimeout(resolve, closeGraceMs).unref());
    await Promise.race([sent, deadline]);
  }
}

class OtelSpan implements Span {
  readonly #tracer: Tracer;
  readonly #span: OtelApiSpan;
  /** From `performance.now()` to the time of day. */
  readonly #clockOffset: number;

  constructor(tracer: Tracer, span: OtelApiSpan, clockOffset: number) {
    this.#clockOffset = clockOffset;
    this.#tracer = tracer;
    this.#span = span;
  }

  get traceId(): string {
    return this.#span.spanContext().traceId;
  }

  get traceparent(): string {
    const { traceId, spanId, traceFlags } = this.#span.spanContext();
    return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
  }

  child(name: string, startedAt: number, attributes: Attributes = {}): Span {
    const parent = trace.setSpan(ROOT_CONTEXT, this.#span);
    const options = { startTime: startedAt + this.#clockOffset, attributes };
    return new OtelSpan(this.#tracer, this.#tracer.startSpan(name, options, parent), this.#clockOffset);
  }

  rename(name: string): void {
    this.#span.updateName(name);
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes({ ...attributes });
  }

  fail(type: string): void {
    this.#span.setAttribute("error.type", type);
    this.#span.setStatus({ code: SpanStatusCode.ERROR });
  }

  end(endedAt = performance.now()): void {
    this.#span.end(endedAt + this.#clockOffset);
  }
}

function remoteContext({ traceparent, tracestate }: TraceHeaders): Context {
  const parent = parseTraceparent(traceparent);
  if (parent === undefined) return ROOT_CONTEXT;
  const { traceId, parentId, isSampled } = parent;
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId: parentId,
    traceFlags: isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
    isRemote: true,
    ...(tracestate !== undefined && { traceState: createTraceState(tracestate) }),
  });
}
