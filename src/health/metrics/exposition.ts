import type { Registry, RegistryContentType } from "prom-client";

/** One part of what `/metrics` can be asked for. OpenMetrics has exemplars; tools such as `promtool check metrics` read only the other. */
export type Exposition = "openmetrics" | "plain";

type Metric = Awaited<ReturnType<Registry["getMetricsAsJSON"]>>[number];
type Sample = Metric["values"][number];
type Labels = Sample["labels"];

/**
 * The text of a scrape, in either format. The registry's own writer knows one of the two, and takes a third more CPU: it makes lists of
 * every sample's labels, and with ten models there are 4,500 samples.
 */
export async function expose(registry: Registry<RegistryContentType>, exposition: Exposition): Promise<string> {
  const metrics = await registry.getMetricsAsJSON();
  const isOpen = exposition === "openmetrics";
  return metrics.map((metric) => lines(metric, isOpen)).join("") + (isOpen ? "# EOF\n" : "");
}

function lines(metric: Metric, isOpen: boolean): string {
  const isCounter = String(metric.type) === "counter";
  // OpenMetrics takes the ending for a part of the sample.
  const family = isOpen && isCounter ? metric.name.replace(/_total$/, "") : metric.name;
  let text = `# HELP ${family} ${metric.help}\n# TYPE ${family} ${String(metric.type)}\n`;
  for (const sample of metric.values) {
    const labels = labelled(sample.labels);
    text += `${nameOf(sample) ?? metric.name}${labels === "" ? "" : `{${labels}}`} ${written(sample.value)}`;
    if (isOpen) text += exemplarOf(sample);
    text += "\n";
  }
  return text;
}

/** Of a histogram's part, such as a bucket. */
function nameOf(sample: Sample): string | undefined {
  return "metricName" in sample && typeof sample.metricName === "string" ? sample.metricName : undefined;
}

function exemplarOf(sample: Sample): string {
  if (!("exemplar" in sample) || typeof sample.exemplar !== "object" || sample.exemplar === null) return "";
  const { exemplar } = sample;
  if (!("labelSet" in exemplar && "value" in exemplar && "timestamp" in exemplar)) return "";
  if (typeof exemplar.labelSet !== "object" || exemplar.labelSet === null) return "";
  return ` # {${labelled({ ...exemplar.labelSet })}} ${Number(exemplar.value)} ${Number(exemplar.timestamp)}`;
}

function labelled(labels: Labels): string {
  let text = "";
  for (const name in labels) text += `${text === "" ? "" : ","}${name}="${escaped(labels[name])}"`;
  return text;
}

const special = /[\\\n"]/;

function escaped(value: string | number | undefined): string {
  const text = String(value);
  return special.test(text) ? text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"') : text;
}

function written(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  return Number.isFinite(value) ? String(value) : value > 0 ? "+Inf" : "-Inf";
}
