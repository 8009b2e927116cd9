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

/** What keeps a value for every set of labels that it has ever seen. */
interface Accumulating {
  get(): Promise<{ readonly values: readonly { readonly labels: Readonly<Partial<Record<string, string | number>>> }[] }>;
  remove(labels: Readonly<Partial<Record<string, string | number>>>): void;
}

/** Makes instruments that are all in one registry. */
export class Instruments {
  readonly registry = new Registry<OpenMetricsContentType>();
  readonly #ofModels: Accumulating[] = [];

  constructor() {
    this.registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  }

  counter<Label extends string = never>(name: string, help: string, ...labelNames: Label[]): Counter<Label> {
    return this.#kept(labelNames, new Counter({ name, help, labelNames, registers: [this.registry] }));
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
    return this.#kept(labelNames, new Histogram({ name, help, buckets: [...buckets], labelNames, registers: [this.registry] }));
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
    this.#kept(labelNames, histogram);
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

  /** Takes every series away whose label `model` is this. Gauges that are read anew at every scrape have none. */
  async forgetModel(model: string): Promise<void> {
    for (const instrument of this.#ofModels) {
      const { values } = await instrument.get();
      for (const { labels } of values) {
        // The bound of a bucket is no label of the histogram.
        if (labels["model"] === model)
          instrument.remove(Object.fromEntries(Object.entries(labels).filter(([name]) => name !== "le")));
      }
    }
  }

  #kept<Instrument extends Accumulating>(labelNames: readonly string[], instrument: Instrument): Instrument {
    if (labelNames.includes("model")) this.#ofModels.push(instrument);
    return instrument;
  }
}
