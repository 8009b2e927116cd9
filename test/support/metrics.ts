import assert from "node:assert/strict";

/** The samples of a scrape, by series as it is written: `name{label="value"}`, labels in alphabetical order. */
export type Scrape = ReadonlyMap<string, number>;

export async function scrape(url: string): Promise<Scrape> {
  const response = await fetch(`${url}/metrics`);
  assert.equal(response.status, 200);
  return parseMetrics(await response.text());
}

export function parseMetrics(text: string): Scrape {
  const samples = text.split("\n").flatMap((line): [string, number][] => {
    const [, name, labels, value] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined) return [];
    return [[series(name, labels === undefined ? [] : (labels.match(/\w+="[^"]*"/g) ?? [])), Number(value)]];
  });
  return new Map(samples);
}

/** What a counter says of the given labels, 0 where it has not counted yet. */
export function sample(scraped: Scrape, name: string, labels: Readonly<Record<string, string>> = {}): number {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return scraped.get(series(name, pairs)) ?? 0;
}

function series(name: string, pairs: readonly string[]): string {
  return pairs.length === 0 ? name : `${name}{${[...pairs].sort().join(",")}}`;
}
