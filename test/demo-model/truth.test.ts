import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { WebSocket } from "ws";
import { settings } from "../../src/config.ts";
import { errorCodes } from "../../src/protocol/errors.ts";
import { chatCompletionRequest } from "../../src/protocol/openai.ts";
import { runCommand } from "../support/processes.ts";
import { startService, type RunningService } from "../support/service.ts";
import { repository, taughtAnswers } from "./data.ts";

/** Flags of other programs that the answers name. */
const foreignFlags = ["--device", "--read-only", "--cap-drop", "--security-opt", "--output", "--help", "--version"];

describe("what the demo models say exists", () => {
  let said: string;
  let service: RunningService;
  let help: string;

  before(async () => {
    said = (await taughtAnswers()).join("\n");
    service = await startService(["gpt2"]);
    help = (await runCommand(["--help"])).stdout;
  });
  after(() => service[Symbol.asyncDispose]());

  const named = (pattern: RegExp) => [...new Set(Array.from(said.matchAll(pattern), ([, name = ""]) => name))];

  test("commands", () => {
    const missing = named(/`llamapod ([a-z]+)/g).filter((name) => !new RegExp(`^  ${name}\\b`, "m").test(help));
    assert.deepEqual(missing, []);
  });

  test("flags", () => {
    const flags = [...settings.map(({ flag }) => flag), "--config", "--print-config", ...foreignFlags];
    assert.deepEqual(
      named(/(--[a-z][a-z-]+)/g).filter((flag) => !flags.includes(flag)),
      [],
    );
  });

  test("environment variables", () => {
    const variables = settings.map(({ variable }) => variable);
    assert.deepEqual(
      named(/(LLAMAPOD_[A-Z_]*[A-Z])/g).filter((name) => !variables.includes(name)),
      [],
    );
  });

  test("routes", async () => {
    const paths = without(named(/(\/(?:v1|api|health|metrics)[\w/]*)/g), ["/v1"]);
    const found = await Promise.all(paths.map((path) => exists(service.url + path.replace("MODEL", "gpt2"))));
    const missing = paths.filter((_, index) => found[index] === false);
    assert.deepEqual(missing, []);
  });

  test("metrics", async () => {
    const metrics = await (await fetch(`${service.url}/metrics`)).text();
    assert.deepEqual(
      named(/(llamapod_[a-z_]*[a-z])/g).filter((name) => !metrics.includes(`# HELP ${name} `)),
      [],
    );
  });

  test("error codes and fields of requests and answers", () => {
    const known = [...errorCodes, ...Object.keys(chatCompletionRequest.shape), "finish_reason", "tool_calls", "node_modules"];
    assert.deepEqual(
      named(/`([a-z]+(?:_[a-z]+)+)`/g).filter((name) => !known.includes(name) && !name.startsWith("llamapod_")),
      [],
    );
  });

  test("files", () => {
    const paths = named(/((?:docs|tools|demo-models)\/[\w./-]*\w|[A-Z]+\.md)/g);
    assert.deepEqual(
      paths.filter((path) => !existsSync(new URL(path, repository))),
      [],
    );
  });
});

function without(names: readonly string[], others: readonly string[]): string[] {
  return names.filter((name) => !others.includes(name));
}

/** Whether a route takes any of the ways of asking. */
async function exists(url: string): Promise<boolean> {
  const statuses = await Promise.all(["GET", "POST"].map(async (method) => (await fetch(url, { method })).status));
  return statuses.some((status) => status !== 404) || (await upgrades(url));
}

async function upgrades(url: string): Promise<boolean> {
  const socket = new WebSocket(url.replace("http", "ws"), "llamapod.v1");
  try {
    await once(socket, "open");
    return true;
  } catch {
    return false;
  } finally {
    socket.terminate();
  }
}
