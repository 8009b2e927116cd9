import { randomInt } from "node:crypto";
import { Command } from "commander";
import { chatCompletion } from "../protocol/openai-answers.ts";
import { printJson, printTable } from "./output.ts";
import { postJson, serverAccess } from "./server-access.ts";
import { commonOptions, withJson, withServer } from "./settings.ts";

const answers = 3;
const answerTokens = 64;
/** Few enough for the smallest context. */
const promptWords = 40;

/** Different for each answer and each time from its first word on, so that no slot holds it already. */
function prompt(): string {
  return Array.from({ length: promptWords }, () => randomInt(100_000, 1_000_000)).join(" ");
}

export function benchCommand(): Command {
  const command = new Command("bench")
    .description("measure how fast a model of the running server reads and writes")
    .argument("[model]", "the active one, if none is named")
    .addHelpText("after", "\nExamples:\n  llamapod bench\n  llamapod bench qwen2.5-0.5b --json");
  withJson(withServer(command));
  return command.action(async (model: string | undefined) => {
    const access = serverAccess(command);
    // The first one may have to load the model.
    const ask = (tokens: number) =>
      postJson(
        access,
        "v1/chat/completions",
        {
          ...(model !== undefined && { model }),
          messages: [{ role: "user", content: prompt() }],
          max_tokens: tokens,
          ignore_eos: true,
          temperature: 0,
        },
        chatCompletion,
      );
    const { model: id } = await ask(1);
    const runs: Measured[] = [];
    for (let answer = 1; answer <= answers; answer++) runs.push(measured(await ask(answerTokens)));
    const result = {
      model: id,
      prompt_tokens_per_second: median(runs.map((run) => run.reading)),
      decode_tokens_per_second: median(runs.map((run) => run.writing)),
      time_to_first_token_ms: median(runs.map((run) => run.firstTokenMs)),
    };
    if (commonOptions(command).json) {
      printJson(result);
      return;
    }
    printTable(
      [
        { title: "MODEL" },
        { title: "READS, TOKENS/S", align: "right" },
        { title: "WRITES, TOKENS/S", align: "right" },
        { title: "FIRST TOKEN, MS", align: "right" },
      ],
      [
        [
          result.model,
          result.prompt_tokens_per_second.toFixed(1),
          result.decode_tokens_per_second.toFixed(1),
          result.time_to_first_token_ms.toFixed(0),
        ],
      ],
    );
  });
}

interface Measured {
  readonly reading: number;
  readonly writing: number;
  readonly firstTokenMs: number;
}

function measured({ usage, timings }: Pick<ReturnType<typeof chatCompletion.parse>, "usage" | "timings">): Measured {
  const read = usage.prompt_tokens - usage.prompt_tokens_details.cached_tokens;
  return {
    reading: (read / Math.max(1, timings.prefill_ms)) * 1_000,
    writing: timings.decode_tokens_per_second,
    firstTokenMs: timings.ttft_ms,
  };
}

/** Of an odd number of values. */
function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
