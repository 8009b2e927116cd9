import { availableParallelism } from "node:os";
import { skip } from "../../test/podman/podman.ts";
import { median } from "../client/statistics.ts";
import { measure, type Figures } from "./measure.ts";
import { bareHost, container, docker, onConnection, works, type Way } from "./ways.ts";

/** What a container costs: the same server on the bare host, under rootless Podman, and under Docker where it runs. Takes the user and image of `test/podman/run`. */

export interface ContainerBenchOptions {
  readonly model: string;
  readonly rounds: number;
  readonly port: number;
}

const rows: readonly { readonly what: string; readonly of: (figures: Figures) => number; readonly digits: number }[] = [
  { what: "command to first token, ms ↓", of: ({ startMs }) => startMs, digits: 0 },
  { what: "decode, 1 stream, tokens/s ↑", of: ({ tokensPerSecond }) => tokensPerSecond, digits: 1 },
  { what: "memory of server and runners, MiB ↓", of: ({ memoryBytes }) => memoryBytes / 2 ** 20, digits: 0 },
  { what: "requests/s, 8 connections that are kept ↑", of: ({ requestsPerSecond }) => requestsPerSecond, digits: 0 },
];

export async function benchContainers({ model, rounds, port }: ContainerBenchOptions): Promise<void> {
  if (skip !== false) throw new Error(`This ${skip}, then LLAMAPOD_TEST_PODMAN_USER=llamapod-test.`);
  const settings = { threads: availableParallelism(), model };
  const rootlessNetwork = (await works("pasta", "--version")) ? "pasta" : "slirp4netns";
  const ways = [
    bareHost(settings),
    container(`published port, ${rootlessNetwork}`, settings, (at) => [
      `--network=${rootlessNetwork}`,
      "--publish",
      `127.0.0.1:${at}:8080`,
    ]),
    container("host's network", settings, (at) => [
      "--network=host",
      "--env=LLAMAPOD_HOST=127.0.0.1",
      `--env=LLAMAPOD_PORT=${at}`,
    ]),
    container("bridge", settings, (at) => ["--network=bridge", "--publish", `127.0.0.1:${at}:8080`]),
    container("socket activation, no network", settings, () => ["--network=none"], onConnection),
    ...((await works("docker", "info")) ? [docker(settings)] : []),
  ];
  const measured = new Map<Way, Figures[]>(ways.map((way) => [way, []]));
  for (let round = 0; round < rounds; round++) {
    for (const way of round % 2 === 0 ? ways : [...ways].reverse()) {
      process.stderr.write(`round ${round + 1} of ${rounds}, ${way.name}\n`);
      measured.get(way)?.push(await measure(way, port, model));
    }
  }
  process.stdout.write(render(ways, measured));
}

/** Medians, and in brackets their ratio to the first way's. */
function render(ways: readonly Way[], measured: ReadonlyMap<Way, readonly Figures[]>): string {
  const lines = rows.map(({ what, of, digits }) => {
    const medians = ways.map((way) => median((measured.get(way) ?? []).map(of)));
    const [base = Number.NaN] = medians;
    const shown = medians.map((value, index) => {
      const number = value.toLocaleString("en-US", { maximumFractionDigits: digits });
      return index === 0 ? number : `${number} (${(value / base).toFixed(2)})`;
    });
    return `| ${[what, ...shown].join(" | ")} |`;
  });
  const head = [`| | ${ways.map(({ name }) => name).join(" | ")} |`, `|---|${ways.map(() => "---:|").join("")}`];
  return [...head, ...lines, ""].join("\n");
}
