import { availableParallelism } from "node:os";
import { InvalidArgumentError, Option, type Command } from "commander";
import { quantizations, type Quantization } from "../test/fixtures/shapes/shape-file.ts";
import { scenarioKinds, type ScenarioKind } from "./scenarios/all.ts";
import type { ScenarioSizes } from "./scenarios/scenario.ts";
import { serverNames, type ServerName } from "./servers/server.ts";

export interface BenchOptions {
  readonly model?: string;
  readonly quantization: Quantization;
  readonly llamaServer?: string;
  readonly servers: readonly ServerName[];
  readonly only: readonly ScenarioKind[];
  readonly rounds?: number;
  readonly streams?: readonly number[];
  readonly tokens?: number;
  readonly prefillTokens?: number;
  readonly longPromptTokens?: number;
  readonly threads: number;
  readonly gpu?: true;
  /** In percent. */
  readonly maxForeign: number;
  readonly quick?: true;
  readonly llamapodArgs: readonly string[];
  readonly llamaServerArgs: readonly string[];
  readonly json?: string;
  readonly markdown?: string;
  readonly section: string;
}

const full = { rounds: 3, streams: [1, 4, 8], tokens: 128, prefillTokens: 2_000, longPromptTokens: 4_000 };
const quick = { rounds: 1, streams: [1, 4], tokens: 48, prefillTokens: 500, longPromptTokens: 1_000 };

export function addOptions(command: Command): Command {
  return command
    .option("--model <file>", "a GGUF file; without it, one of random weights in the shape of Qwen2.5-0.5B is made")
    .addOption(new Option("--quantization <type>", "of the model that is made").choices(quantizations).default("Q4_0"))
    .option("--llama-server <file>", "the program to compare with (or LLAMA_SERVER, the PATH, or build-llama-server)")
    .option("--servers <names>", "which to measure", listOf(serverNames), [...serverNames])
    .option("--only <scenarios>", "which to run", listOf(scenarioKinds), [...scenarioKinds])
    .option("--rounds <n>", "measurements of each server in each scenario", count)
    .option("--streams <list>", "numbers of streams in the decode scenario", counts)
    .option("--tokens <n>", "length of an answer (at most 64 in the chat)", count)
    .option("--prefill-tokens <n>", "length of the prompt in the prefill scenario", count)
    .option("--long-prompt-tokens <n>", "length of the prompt that comes in the mixed scenario", count)
    .option("--threads <n>", "compute threads of either server", count, availableParallelism())
    .option("--gpu", "compute on the GPU; without it, both compute on the processor even if there is a GPU")
    .option("--max-foreign <percent>", "of the machine that others may take; a run with more is made again", count, 5)
    .option("--quick", "one round, and everything small: to see that it works, or while tuning")
    .option("--llamapod-args <arguments>", "more arguments for llamapod, separated by spaces", words, [])
    .option("--llama-server-args <arguments>", "more arguments for llama-server, separated by spaces", words, [])
    .option("--json <file>", "write everything that was measured")
    .option("--markdown <file>", "write the tables into the marked section of a file")
    .option("--section <name>", "which of the file's marked sections", "results");
}

export function sizesOf(options: BenchOptions): ScenarioSizes & { readonly rounds: number } {
  const base = options.quick ? quick : full;
  return {
    rounds: options.rounds ?? base.rounds,
    streams: options.streams ?? base.streams,
    tokens: options.tokens ?? base.tokens,
    prefillTokens: options.prefillTokens ?? base.prefillTokens,
    longPromptTokens: options.longPromptTokens ?? base.longPromptTokens,
  };
}

export function count(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new InvalidArgumentError("It must be a number from 1.");
  return Number(text);
}

function counts(text: string): number[] {
  return text.split(",").map(count);
}

function words(text: string): string[] {
  return text.split(" ").filter((word) => word !== "");
}

export function listOf<Name extends string>(names: readonly Name[]): (text: string) => Name[] {
  return (text) =>
    text.split(",").map((part) => {
      const name = names.find((candidate) => candidate === part.trim());
      if (name === undefined) throw new InvalidArgumentError(`There are ${names.join(", ")}.`);
      return name;
    });
}
