import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { monitoring } from "./prometheus.ts";

const target = z.object({ expr: z.string(), legendFormat: z.string() });

const panel = z.object({
  type: z.string(),
  title: z.string(),
  gridPos: z.object({ x: z.number(), y: z.number(), w: z.number(), h: z.number() }),
  fieldConfig: z.object({ defaults: z.object({ unit: z.string() }) }).optional(),
  targets: z.array(target).default([]),
});

const dashboard = z.object({
  panels: z.array(panel),
  annotations: z.object({ list: z.array(z.object({ expr: z.string() })) }),
});

export type Panel = z.output<typeof panel>;

/** The dashboard as it is shipped, its variables filled in as Grafana does for "All". */
export function readDashboard(): { readonly panels: readonly Panel[]; readonly annotations: readonly string[] } {
  const { panels, annotations } = dashboard.parse(
    JSON.parse(readFileSync(join(monitoring, "grafana", "dashboard.json"), "utf8")),
  );
  return {
    panels: panels.map((shipped) => ({
      ...shipped,
      targets: shipped.targets.map(({ expr, legendFormat }) => ({ expr: filledIn(expr), legendFormat })),
    })),
    annotations: annotations.list.map(({ expr }) => filledIn(expr)),
  };
}

function filledIn(expression: string): string {
  return expression
    .replaceAll("$__rate_interval", "1m")
    .replaceAll("$__range", "5m")
    .replaceAll(/\$(instance|model)\b/g, ".*");
}
