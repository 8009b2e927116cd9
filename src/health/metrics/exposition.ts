/**
 * The text of a scrape as it was before OpenMetrics: no exemplars, counters under their full names, no end mark. Tools such
 * as `promtool check metrics` read only this.
 */
export function plainText(openMetrics: string): string {
  let counter: string | undefined;
  const lines = openMetrics.split("\n").flatMap((line) => {
    if (line === "# EOF") return [];
    if (!line.startsWith("#")) return [line.replace(exemplar, "")];
    const [, keyword = "", name = "", rest = ""] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (keyword === "HELP") {
      // Of a counter the next line says that it is one.
      counter = line;
      return [];
    }
    const full = rest === "counter" ? `${name}_total` : name;
    const help = counter?.replace(`# HELP ${name} `, `# HELP ${full} `);
    counter = undefined;
    return [...(help === undefined ? [] : [help]), `# TYPE ${full} ${rest}`];
  });
  return lines.join("\n");
}

const exemplar = / # \{[^}]*\} \S+ \S+$/;
