import { Counter, Gauge, Histogram, Registry, type OpenMetricsContentType } from "prom-client";

/** Where one observation of many can be looked up: the trace, the request. */
export interface Exemplar {
  readonly traceId: string | undefined;
  readonly requestId: string | undefined;
}

/** A histogram that remembers of each bucket which request fell into it last. */
export interface TracedHistogram<Label extends string> {
  observe(labels: Record<Label, string>, value: number, exemplar: Exemplar): void;
}

/** Makes instruments that are all in one registry. */
export class Instruments {
  readonly registry = new Registry<OpenMetricsContentType>();

  constructor() {
    this.registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  }

  counter<Label extends string = never>(name: string, help: string, ...labelNames: Label[]): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  gauge<Label extends string = never>(name: string, help: string, ...labelNames: Label[]): Gauge<Label> {
    return new Gauge({ name, help, labelNames, registers: [this.registry] });
  }

  /** A gauge that is read anew at every scrape. */
  measured<Label extends string = never>(
    name: string,
    help: string,
    labelNames: Label[],
    measure: (gauge: Gauge<Label>) => void,
  ): void {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        this.reset();
        measure(this);
      },
    });
  }

  histogram<Label extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    ...labelNames: Label[]
  ): Histogram<Label> {
    return new Histogram({ name, help, buckets: [...buckets], labelNames, registers: [this.registry] });
  }

  tracedHistogram<Label extends string>(
    name: string,
    help: string,
    buckets: readonly number[],
    ...labelNames: Label[]
  ): TracedHistogram<Label> {
    const histogram = new Histogram<string>({
      name,
      help,
      buckets: [...buckets],
      labelNames,
      registers: [this.registry],
      enableExemplars: true,
    });
    return {
      observe: (labels, value, { traceId, requestId }) => {
        const exemplarLabels = {
          ...(traceId !== undefined && { trace_id: traceId }),
          ...(requestId !== undefined && { request_id: requestId }),
        };
        histogram.observe({ labels, value, exemplarLabels });
      },
    };
  }
}
