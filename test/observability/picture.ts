import { z } from "zod";
import { launchBrowser } from "../page/browser.ts";
import { startService } from "../support/service.ts";
import { readDashboard, type Panel } from "./dashboard.ts";
import { Prometheus } from "./prometheus.ts";
import { makeTraffic } from "./traffic.ts";

/**
 * Draws the dashboard for the documents: its panels, where they are, with what a real Prometheus answers after a while of
 * real traffic. The drawing is this program's, not Grafana's.
 *
 *     node dist/test/observability/picture.js docs/dashboard.png
 */

const trafficMs = 90_000;
const gridWidth = 60;
const gridHeight = 30;
const colours = ["#73bf69", "#f2cc0c", "#5794f2", "#ff780a", "#f2495c", "#b877d9", "#8ab8ff", "#96d98d", "#ffb357", "#ca95e5"];

const matrix = z.object({
  result: z.array(
    z.object({ metric: z.record(z.string(), z.string()), values: z.array(z.tuple([z.number(), z.string().transform(Number)])) }),
  ),
});

interface Series {
  readonly name: string;
  readonly points: readonly (readonly [number, number])[];
}

const path = process.argv[2] ?? "dashboard.png";
await using service = await startService(["llama", "gpt2"], { slots: 2, maxQueue: 4 });
await using prometheus = await Prometheus.start(service.url);
const begin = Date.now();
for (let round = 0; Date.now() - begin < trafficMs; round++) await makeTraffic(service.url, round);
const range = { start: String(begin / 1_000 + 30), end: String(Date.now() / 1_000), step: "1" };

const drawn = await Promise.all(readDashboard().panels.map(async (panel) => draw(panel, await seriesOf(panel))));
const browser = await launchBrowser();
const page = await browser.newPage({ viewport: { width: 24 * gridWidth, height: 800 } });
const bottom = Math.max(...readDashboard().panels.map(({ gridPos: { y, h } }) => y + h)) * gridHeight;
await page.setContent(
  `<style>body{margin:0;background:#111217;color:#ccccdc;font:12px sans-serif;position:relative;height:${bottom}px}
  section{position:absolute;box-sizing:border-box;padding:6px 8px;border:3px solid #111217;background:#181b1f;overflow:hidden}
  h2{font-size:13px;margin:0 0 4px}h1{font-size:15px;margin:2px}svg{display:block}
  .big{font-size:26px;text-align:center;margin-top:14px;color:#73bf69}.legend{font-size:10px;line-height:13px}</style>${drawn.join("")}`,
);
await page.screenshot({ path, fullPage: true });
await browser.close();

async function seriesOf({ targets }: Panel): Promise<Series[]> {
  const answers = await Promise.all(
    targets.map(async ({ expr, legendFormat }) => {
      const { result } = matrix.parse(await prometheus.get("query_range", { query: expr, ...range }));
      return result.map(({ metric, values }) => ({
        name: legendFormat.replaceAll(/\{\{(\w+)\}\}/g, (_, label: string) => metric[label] ?? ""),
        points: values.filter(([, value]) => Number.isFinite(value)),
      }));
    }),
  );
  return answers.flat().filter(({ points }) => points.length > 0);
}

function draw(panel: Panel, series: readonly Series[]): string {
  const { x, y, w, h } = panel.gridPos;
  const box = `left:${x * gridWidth}px;top:${y * gridHeight}px;width:${w * gridWidth}px;height:${h * gridHeight}px`;
  if (panel.type === "row") return `<section style="${box};background:none"><h1>${escape(panel.title)}</h1></section>`;
  const title = `<h2>${escape(panel.title)}</h2>`;
  if (panel.type === "stat")
    return `<section style="${box}">${title}<div class="big">${escape(stat(panel, series))}</div></section>`;
  const legend = series.map(({ name }, index) => `<span style="color:${colour(index)}">■</span> ${escape(name)}`).join(" &nbsp;");
  const content = plot(series, unitOf(panel), w * gridWidth - 24, (h - 3) * gridHeight - 18);
  return `<section style="${box}">${title}${content}<div class="legend">${legend}</div></section>`;
}

function stat(panel: Panel, series: readonly Series[]): string {
  const last = series[0]?.points.at(-1)?.[1] ?? NaN;
  if (panel.title === "Version") return series[0]?.name ?? "";
  if (panel.title === "Ready") return last === 1 ? "ready" : "not ready";
  return format(last, unitOf(panel));
}

function plot(series: readonly Series[], unit: string, width: number, height: number): string {
  const values = series.flatMap(({ points }) => points.map(([, value]) => value));
  const most = Math.max(...values, 0) || 1;
  const start = Number(range.start);
  const length = Number(range.end) - start;
  const lines = series.map(({ points }, index) => {
    const corners = points.map(
      ([time, value]) =>
        `${(56 + ((time - start) / length) * (width - 60)).toFixed(1)},${(height - (value / most) * (height - 8)).toFixed(1)}`,
    );
    return `<polyline fill="none" stroke="${colour(index)}" stroke-width="1.4" points="${corners.join(" ")}"/>`;
  });
  const marks = [0, 0.5, 1].map((share) => {
    const at = height - share * (height - 8);
    return `<line x1="56" x2="${width}" y1="${at}" y2="${at}" stroke="#2c3235"/><text x="50" y="${at + 3}" fill="#8e8e9a" font-size="10" text-anchor="end">${escape(format(share * most, unit))}</text>`;
  });
  return `<svg width="${width}" height="${height + 4}">${marks.join("")}${lines.join("")}</svg>`;
}

function unitOf({ fieldConfig }: Panel): string {
  return fieldConfig?.defaults.unit ?? "short";
}

function format(value: number, unit: string): string {
  if (unit === "percentunit") return `${(value * 100).toFixed(value < 0.1 ? 1 : 0)} %`;
  if (unit === "bytes") return value >= 2 ** 30 ? `${(value / 2 ** 30).toFixed(1)} GiB` : `${(value / 2 ** 20).toFixed(1)} MiB`;
  if (unit === "s") return value < 1 ? `${(value * 1_000).toFixed(value < 0.01 ? 1 : 0)} ms` : `${value.toFixed(1)} s`;
  return value >= 100 ? value.toFixed(0) : value.toFixed(1);
}

function colour(index: number): string {
  return colours[index % colours.length] ?? "white";
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
