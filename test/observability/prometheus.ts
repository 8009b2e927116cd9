import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse, stringify } from "yaml";
import { z } from "zod";

export const monitoring = fileURLToPath(new URL("../../../deploy/podman/monitoring/", import.meta.url));

const isInstalled = spawnSync("prometheus", ["--version"]).status === 0;

/** In CI it has to be there. */
export const skipWithoutPrometheus =
  isInstalled || process.env["CI"] === "true" ? false : "prometheus is not installed (package prometheus)";

const answer = z.discriminatedUnion("status", [
  z.object({ status: z.literal("success"), data: z.unknown() }),
  z.object({ status: z.literal("error"), error: z.string() }),
]);

const vector = z.object({
  result: z.array(z.object({ metric: z.record(z.string(), z.string()), value: z.tuple([z.number(), z.string()]) })),
});

export type Sample = z.output<typeof vector>["result"][number];

/** A real Prometheus with the configuration that is shipped, but that it looks every second, and at this server. */
export class Prometheus implements AsyncDisposable {
  readonly url: string;
  readonly #folder: string;
  readonly #child;

  private constructor(url: string, folder: string, child: ReturnType<typeof spawn>) {
    this.url = url;
    this.#folder = folder;
    this.#child = child;
  }

  static async start(target: string): Promise<Prometheus> {
    const folder = await mkdtemp(join(tmpdir(), "llamapod-prometheus-"));
    const shipped = z
      .object({
        global: z.record(z.string(), z.string()),
        rule_files: z.array(z.string()),
        scrape_configs: z.tuple([z.looseObject({ job_name: z.string() })]),
      })
      .parse(parse(await readFile(join(monitoring, "prometheus.yml"), "utf8")));
    const [job] = shipped.scrape_configs;
    const config = {
      global: { ...shipped.global, scrape_interval: "1s", evaluation_interval: "1s" },
      rule_files: shipped.rule_files.map((path) => join(monitoring, path)),
      scrape_configs: [{ ...job, static_configs: [{ targets: [new URL(target).host] }] }],
    };
    await writeFile(join(folder, "prometheus.yml"), stringify(config));
    const address = `127.0.0.1:${await freePort()}`;
    const child = spawn(
      "prometheus",
      [
        `--config.file=${join(folder, "prometheus.yml")}`,
        `--storage.tsdb.path=${join(folder, "data")}`,
        `--web.listen-address=${address}`,
        "--enable-feature=exemplar-storage",
        "--log.level=error",
      ],
      { stdio: ["ignore", "inherit", "inherit"] },
    );
    const prometheus = new Prometheus(`http://${address}`, folder, child);
    while (!(await fetch(`${prometheus.url}/-/ready`).catch(() => undefined))?.ok) {
      if (child.exitCode !== null) throw new Error("prometheus has ended");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return prometheus;
  }

  /** @throws {Error} what Prometheus says of the expression */
  async query(expression: string): Promise<readonly Sample[]> {
    return vector.parse(await this.get("query", { query: expression })).result;
  }

  async get(path: string, parameters: Readonly<Record<string, string>> = {}): Promise<unknown> {
    const response = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters).toString()}`);
    const parsed = answer.parse(await response.json());
    if (parsed.status === "error") throw new Error(`${parsed.error} in ${JSON.stringify(parameters)}`);
    return parsed.data;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#child, "close");
    this.#child.kill();
    await closed;
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
