import { writeFileSync } from "node:fs";
import { Command } from "commander";
import { benchConnections } from "./connections/main.ts";
import { benchContainers } from "./containers/main.ts";
import { publishedNames } from "../test/fixtures/shapes/published.ts";
import { findModel } from "./model.ts";
import { addOptions, count, listOf, sizesOf, type BenchOptions } from "./options.ts";
import { compareAnswers, describeAgreement } from "./report/agreement.ts";
import { describeEnvironment } from "./report/environment.ts";
import { updateMarkdown } from "./report/markdown.ts";
import { summarize, type ScenarioSummary } from "./report/summary.ts";
import { renderTable } from "./report/table.ts";
import { findWarnings } from "./report/warnings.ts";
import { runRounds, type RoundResult } from "./rounds.ts";
import { makeScenarios } from "./scenarios/all.ts";
import { benchScrape } from "./scrape/main.ts";
import { benchShapes } from "./shapes/main.ts";
import { benchStreams } from "./streams/main.ts";
import { benchSwitching } from "./switching/main.ts";
import { benchMixedTraffic } from "./switching/mixed.ts";
import { buildLlamaServer } from "./servers/build-llama-server.ts";
import { assertHasGpu, findLlamaServer, llamaServer } from "./servers/llama-server.ts";
import { llamapod } from "./servers/llamapod.ts";
import type { Device, Server } from "./servers/server.ts";

async function bench(options: BenchOptions): Promise<void> {
  const { threads, gpu = false, maxForeign } = options;
  const device = gpu ? "gpu" : "cpu";
  const sizes = sizesOf(options);
  const servers = findServers(options, device);
  const model = await findModel(options.model, options.quantization);
  const environment = describeEnvironment({ servers, model, threads, device, rounds: sizes.rounds });
  const results: RoundResult[] = [];
  const summaries: ScenarioSummary[] = [];
  for (const scenario of makeScenarios(options.only, sizes)) {
    const ofScenario = await runRounds(scenario, {
      servers,
      rounds: sizes.rounds,
      modelPath: model.path,
      threads,
      device,
      maxForeignShare: maxForeign / 100,
      onProgress: (message) => process.stderr.write(`${message}\n`),
    });
    const summary = summarize(scenario, ofScenario);
    results.push(...ofScenario);
    summaries.push(summary);
    process.stdout.write(`\n${scenario.title}\n${renderTable(summary)}\n\n`);
    // After each scenario: a long run that is broken off leaves what it has.
    if (options.json !== undefined)
      writeFileSync(options.json, JSON.stringify({ environment, sizes, summaries, results }, null, 1));
  }
  const agreement = compareAnswers(results);
  const warnings = findWarnings({ environment, summaries, agreement, maxForeignShare: maxForeign / 100 });
  if (agreement.answers > 0) process.stdout.write(`${describeAgreement(agreement)}\n`);
  for (const warning of warnings) process.stdout.write(`Note: ${warning}\n`);
  if (options.markdown !== undefined) {
    updateMarkdown(options.markdown, options.section, { environment, summaries, agreement, warnings });
  }
}

function findServers(options: BenchOptions, device: Device): Server[] {
  return options.servers.map((name) => {
    if (name === "llamapod") return llamapod(options.llamapodArgs);
    const program = findLlamaServer(options.llamaServer);
    if (device === "gpu") assertHasGpu(program);
    return llamaServer(program, options.llamaServerArgs);
  });
}

// A server that is running is stopped when this process exits, and only then.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

const program = new Command("bench")
  .enablePositionalOptions()
  .description("measures llamapod and llama-server side by side")
  .showHelpAfterError();
addOptions(program).action(bench);
program
  .command("build-llama-server")
  .description("builds llama-server from the llama.cpp source in node-llama-cpp")
  .argument("[cmake-flags...]", "more of them, for example: -- -DGGML_CUDA=ON")
  .action((flags: string[]) => {
    process.stdout.write(`${buildLlamaServer(flags)}\n`);
  });

program
  .command("streams")
  .description("measures how the server carries many streams, with runners that need no model")
  .option("--streams <n>", "streams at the same time", count, 500)
  .option("--rate <n>", "tokens a second of each stream", count, 50)
  .option("--seconds <n>", "length of each measurement", count, 30)
  .action(benchStreams);

program
  .command("connections")
  .description("measures what clients cost that ask for nothing, beside llama-server")
  .option("--llama-server <file>", "the program to compare with (or LLAMA_SERVER, the PATH, or build-llama-server)")
  .option("--connections <n>", "of each server", count, 10_000)
  .option("--seconds <n>", "for which they stay", count, 30)
  .action(benchConnections);

program
  .command("scrape")
  .description("measures what a scrape of /metrics costs, with models that have done some of everything")
  .option("--models <n>", "loaded models", count, 10)
  .option("--scrapes <n>", "of each format", count, 300)
  .action(benchScrape);

program
  .command("containers")
  .description("measures what rootless Podman costs, beside the bare host; as root, after test/podman/run")
  .option("--model <name>", "a model of that user's folder", "smollm2-135m-instruct.q4_1")
  .option("--rounds <n>", "starts of each", count, 5)
  .option("--port <n>", "where the server listens", count, 18_099)
  .action(benchContainers);

program
  .command("switching")
  .description("measures how long a request waits for another model to be loaded, beside llama-server's router")
  .option("--llama-server <file>", "the program to compare with (or LLAMA_SERVER, the PATH, or build-llama-server)")
  .option("--model <file>", "a GGUF file; without it, one of random weights in the shape of Qwen2.5-0.5B is made")
  .option("--rounds <n>", "starts of each server", count, 3)
  .option("--switches <n>", "requests of a round, in turns for the one model and the other", count, 10)
  .action(benchSwitching);

program
  .command("shapes")
  .description("measures the six models' shapes: memory beside the estimate, loading, speed, and switching under a stream")
  .option("--only <names>", "which of them", listOf(publishedNames), [...publishedNames])
  .option("--gpu", "compute on the GPU; without it, on the processor even if there is a GPU")
  .action(benchShapes);

program
  .command("mixed-traffic")
  .description("measures steady traffic for two models of which only one fits, beside llama-server's router")
  .option("--llama-server <file>", "the program to compare with (or LLAMA_SERVER, the PATH, or build-llama-server)")
  .option("--model <file>", "a GGUF file; without it, one of random weights in the shape of Qwen2.5-0.5B is made")
  .option("--rounds <n>", "starts of each server", count, 2)
  .option("--clients <n>", "clients of each model", count, 2)
  .option("--tokens <n>", "length of an answer", count, 32)
  .option("--seconds <n>", "for which a round goes on asking", count, 60)
  .action(benchMixedTraffic);

try {
  await program.parseAsync();
} catch (thrown) {
  process.stderr.write(`${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
  process.exitCode = 1;
}
