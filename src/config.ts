import { existsSync, readFileSync } from "node:fs";
import { availableParallelism, homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { gpuModes, logLevels } from "./protocol/runner.ts";

const wrongNames = "must be names, separated by commas";

const names = z
  .preprocess(
    (value) => (typeof value === "string" ? value.split(",").map((name) => name.trim()) : value),
    z.array(z.string({ error: wrongNames }).min(1, { error: wrongNames }), { error: wrongNames }),
  )
  .default([]);

/** Flags and variables are text. Of a file only numbers are taken: coercion would make 1 of true, and 0 of nothing. */
const count = (least: number, most = Number.MAX_SAFE_INTEGER) => {
  const bounds = most === Number.MAX_SAFE_INTEGER ? `, ${least} or more` : ` from ${least} to ${most}`;
  const error = `must be a whole number${bounds}`;
  return z.preprocess(
    (value) => (typeof value === "string" && value.trim() !== "" ? Number(value) : value),
    z.number({ error }).int({ error }).min(least, { error }).max(most, { error }),
  );
};

/** Flags are booleans, variables are text. */
const onOrOff = z.union([z.boolean(), z.stringbool()], { error: "must be true or false" });

const text = z.string({ error: "must be text" }).min(1, { error: "must not be empty" });

const oneOf = <const Choice extends string>(choices: readonly Choice[]) =>
  z.enum(choices, { error: `must be one of ${choices.join(", ")}` });

/** Node's timers take no more milliseconds than 32 bits hold, and fire at once where they should wait longer. */
const seconds = (least: number) => count(least, 2_147_483);

const byteUnits = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

const wrongBytes = "must be a number of bytes, or a size such as 12GiB";

/** A number of bytes, with a unit such as MiB or GiB where it is text. */
const bytes = z.preprocess(
  (value) => {
    const [, number, unit = ""] = /^([\d.]+) ?([KMGT]?)(?:i?B)?$/i.exec(typeof value === "string" ? value.trim() : "") ?? [];
    const factor = Object.entries(byteUnits).find(([name]) => name === unit.toUpperCase())?.[1];
    return number === undefined || factor === undefined ? value : Math.round(Number(number) * factor);
  },
  z.number({ error: wrongBytes }).int({ error: wrongBytes }).min(0, { error: wrongBytes }),
);

/** Of the user, wherever a command is typed, after the XDG base directory specification, which takes absolute paths only. */
function defaultModelsFolder(): string {
  const given = process.env["XDG_DATA_HOME"] ?? "";
  return join(isAbsolute(given) ? given : join(homedir(), ".local", "share"), "llamapod", "models");
}

/** No shell has done it in a file, or in an environment variable of a unit. */
function withHome(path: string): string {
  return path.startsWith("~/") ? join(homedir(), path.slice(2)) : path;
}

const prefixCaches = ["key", "shared"] as const;

/** Every setting, once: its name, its bounds, its default, and what the help says. */
const schema = z.strictObject({
  host: text.default("127.0.0.1").describe("address to listen on"),
  port: count(0, 65_535).default(8080).describe("port to listen on; 0 takes a free one"),
  metricsPort: count(0, 65_535)
    .optional()
    .describe("port of its own for /metrics and /health, on the same address (default: the one port has them)"),
  modelsDir: text.transform(withHome).default(defaultModelsFolder).describe("folder with the GGUF files, and models.yaml"),
  demoModels: onOrOff.default(true).describe("offer the built-in demo models beside those of the folder"),
  model: text.optional().describe("model that answers when a request names none (default: the first one)"),
  contextSize: count(256).default(4096).describe("tokens of prompt and answer together, for each slot"),
  slots: count(1, 64).default(4).describe("generations that a model works on at the same time"),
  threads: count(1).default(availableParallelism()).describe("threads that compute (default: one for each core)"),
  batchSize: count(1).default(512).describe("prompt tokens computed at once, at most"),
  gpu: oneOf(gpuModes).default("auto").describe("auto uses a GPU if one works, required fails without one"),
  exitOnFailedStart: onOrOff
    .default(false)
    .describe("end when the first model cannot be loaded, for something that then starts the server anew or another one"),
  prefixCache: oneOf(prefixCaches)
    .default("key")
    .describe("whose prompts are reused: those of the same key, or shared between all; how fast an answer comes tells of that"),
  maxResident: count(1).default(16).describe("models that are loaded at the same time, at most, where memory allows"),
  memoryBudget: bytes.optional().describe("main memory for all models, such as 12GiB (default: what the machine has)"),
  memoryReserve: bytes.default(512 * 1024 * 1024).describe("main memory that models leave free, in bytes or such as 1GiB"),
  gpuMemoryReserve: bytes
    .default(512 * 1024 * 1024)
    .describe("memory that models leave free on each GPU, in bytes or such as 1GiB"),
  minResidencySeconds: seconds(1)
    .default(5)
    .describe("how long a model with work stays when another one needs the room, and as long as it took to load"),
  parkAfterSeconds: seconds(0).default(5).describe("how long answers go on in a model that makes room, before they are parked"),
  idleUnloadSeconds: seconds(0).default(0).describe("how long a model without work stays loaded; 0 is until room is needed"),
  silenceSeconds: seconds(1)
    .default(10)
    .describe("how long a runner at work may say nothing before it is held to hang, and replaced"),
  loadTimeoutSeconds: seconds(1)
    .default(1_800)
    .describe("how long a model that loads may get no further before its runner is held to hang, and killed"),
  preload: names.describe("models that are loaded at the start, while there is room"),
  pinned: names.describe("models that are loaded at the start and never make room"),
  warmSpare: oneOf(["on", "off"]).default("on").describe("keep a process ready, so that a model loads faster"),
  maxQueue: count(1).default(256).describe("requests that wait for a slot, at most"),
  maxQueuePerClient: count(1).default(192).describe("requests of one key that wait for a slot, at most"),
  maxMessageBytes: count(1024)
    .default(1024 * 1024)
    .describe("size of a request body or a WebSocket message, at most"),
  maxFragments: count(1).default(64).describe("frames that a WebSocket message may come in, at most"),
  maxMessagesPerSecond: count(1).default(100).describe("WebSocket messages of a connection in a second, at most"),
  maxConnections: count(1).default(10_000).describe("WebSocket connections in all, at most"),
  maxConnectionsPerClient: count(1).default(10_000).describe("WebSocket connections of one key, at most"),
  maxGenerations: count(1).default(1_024).describe("answers under way or waiting in all, at most"),
  maxGenerationsPerClient: count(1).default(1_024).describe("answers under way or waiting of one key, at most"),
  maxMessages: count(1).default(2_048).describe("messages that a conversation may have, at most"),
  maxTokens: count(1).default(131_072).describe("tokens that an answer may be asked to have, at most"),
  maxStopStrings: count(1, 1_024).default(8).describe("stop strings of a request, at most"),
  maxSchemaBytes: count(2)
    .default(64 * 1024)
    .describe("size of the JSON Schemas of a request, at most"),
  maxGraceSeconds: seconds(0).default(600).describe("grace time that a request may ask for, at most"),
  maxLogBytes: count(1_024)
    .default(16 * 1024 * 1024)
    .describe("memory that one answer may take, at most"),
  maxTotalLogBytes: count(1_024)
    .default(256 * 1024 * 1024)
    .describe("memory that all answers may take, ended ones that can still be resumed included"),
  maxKeptAnswers: count(1).default(1_000).describe("ended answers that can still be resumed, at most"),
  maxBufferedBytes: count(16_384)
    .default(1024 * 1024)
    .describe("bytes that may wait in a connection for a client that does not read them, at most"),
  stallSeconds: seconds(1)
    .default(60)
    .describe("time after which a connection is closed whose client reads nothing of what waits"),
  heartbeatSeconds: seconds(1).default(20).describe("time between pings on a WebSocket; two without an answer end it"),
  idleSeconds: seconds(1).default(600).describe("time after which a WebSocket is closed on which nothing is said or read"),
  headerSeconds: seconds(1).default(5).describe("time that the headers of a request may take to arrive"),
  bodySeconds: seconds(1).default(30).describe("time that a whole request may take to arrive"),
  graceSeconds: seconds(0).default(60).describe("how long an answer goes on that no connection reads"),
  retentionSeconds: seconds(0).default(300).describe("how long an ended answer can still be resumed"),
  drainSeconds: seconds(0).default(30).describe("how long answers may take to end when the server is told to stop"),
  apiKeysFile: text.optional().describe("file with the keys that clients need (default: none is needed)"),
  allowedHosts: names.describe("host names, beside localhost, under which clients reach this server"),
  allowedOrigins: names.describe("origins of other pages that may use this server"),
  allowUnauthenticated: onOrOff
    .default(false)
    .describe("listen beyond this machine although anyone who gets through may use the server"),
  logLevel: oneOf(logLevels).default("info").describe("least level that is logged"),
  llamaLogLevel: oneOf(logLevels).default("warn").describe("least level at which llama.cpp's own lines are logged"),
  logFile: text
    .transform(withHome)
    .optional()
    .describe("file that gets the log too, readable by its owner and group (default: none)"),
  logFileBytes: bytes.default(10 * 1024 * 1024).describe("size of the log file, in bytes or such as 10MiB, before a new one"),
  logFileCount: count(1, 1_000).default(5).describe("full log files that are kept, as FILE.1 and so on"),
});

export type Config = z.output<typeof schema>;

export interface Setting {
  /** As in `llamapod.yaml`. */
  readonly key: string;
  readonly flag: string;
  readonly variable: string;
  readonly description: string;
  readonly isSwitch: boolean;
}

export const settings: readonly Setting[] = Object.entries(schema.shape).map(([key, field]) => {
  const kebab = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const fallback = field.safeParse(undefined).data;
  const shown = fallback === undefined || fallback === false || (Array.isArray(fallback) && fallback.length === 0);
  const description = field.description ?? "";
  return {
    key,
    flag: `--${kebab}`,
    variable: `LLAMAPOD_${kebab.replaceAll("-", "_").toUpperCase()}`,
    description: shown || description.includes("default") ? description : `${description} (default: ${String(fallback)})`,
    isSwitch: fallback === false,
  };
});

/** A setting that cannot be used. The message names it, where it was set, and why. */
export class ConfigError extends Error {}

/** Where settings are set. */
interface Source {
  readonly values: Readonly<Record<string, unknown>>;
  /** What a setting is called there. */
  readonly nameOf: (key: string) => string;
}

const loopback = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/;

/**
 * Defaults, then the file, then the environment, then flags.
 *
 * @param flags by key; undefined where not given
 * @throws {ConfigError}
 */
export function loadConfig(
  file: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
  flags: Readonly<Record<string, unknown>>,
): Config {
  const fromEnvironment = settings
    .map(({ key, variable }) => [key, environment[variable]] as const)
    .filter(([, value]) => value !== undefined && value !== "");
  const sources: readonly Source[] = [
    { values: file === undefined ? {} : readFile(file), nameOf: (key) => `${key} in ${file ?? ""}` },
    { values: Object.fromEntries(fromEnvironment), nameOf: (key) => settingOf(key)?.variable ?? key },
    { values: flags, nameOf: (key) => settingOf(key)?.flag ?? key },
  ];
  const { data, error } = schema.safeParse(Object.assign({}, ...sources.map(({ values }) => values)));
  if (error !== undefined) throw new ConfigError(describe(error, sources));
  if (!loopback.test(data.host) && !data.allowUnauthenticated && data.apiKeysFile === undefined) {
    throw new ConfigError(
      `${nameIn(sources, "host")} ${data.host} can be reached from other machines, and there are no keys: anyone could use the server. Name a file of keys with --api-keys-file, listen on 127.0.0.1, or add --allow-unauthenticated if the network in front keeps strangers out.`,
    );
  }
  return data;
}

/** A sentence for each setting that cannot be used. */
function describe({ issues }: z.ZodError, sources: readonly Source[]): string {
  const wrong = issues.flatMap(({ path: [key], message, ...issue }) =>
    issue.code === "unrecognized_keys"
      ? issue.keys.map((unknown) => ({ key: unknown, reason: "is not a setting; llamapod serve --help lists them" }))
      : [{ key: String(key), reason: message }],
  );
  const sentences = wrong.map(({ key, reason }) => {
    const { values } = sourceOf(sources, key) ?? {};
    const given = settingOf(key) === undefined ? "" : `, not ${JSON.stringify(values?.[key])}`;
    return `${nameIn(sources, key)}: ${reason}${given}.`;
  });
  return [...new Set(sentences)].join("\n");
}

/** The last one wins. */
function sourceOf(sources: readonly Source[], key: string): Source | undefined {
  return sources.findLast(({ values }) => key in values);
}

function nameIn(sources: readonly Source[], key: string): string {
  return sourceOf(sources, key)?.nameOf(key) ?? key;
}

function settingOf(key: string): Setting | undefined {
  return settings.find((setting) => setting.key === key);
}

function readFile(path: string): Readonly<Record<string, unknown>> {
  if (!existsSync(path)) throw new ConfigError(`The configuration file ${path} does not exist.`);
  try {
    return z.record(z.string(), z.unknown()).parse(parse(readFileSync(path, "utf8")) ?? {});
  } catch (thrown) {
    throw new ConfigError(
      `The configuration file ${path} cannot be read: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
    );
  }
}
