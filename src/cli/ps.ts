import { Command } from "commander";
import { z } from "zod";
import { bytes, printJson, printTable } from "./output.ts";
import { getJson, serverAccess } from "./server-access.ts";
import { commonOptions, withJson, withServer } from "./settings.ts";

const model = z.object({
  id: z.string(),
  state: z.string(),
  active: z.boolean(),
  size_bytes: z.number(),
  memory_estimate_bytes: z.number().nullish(),
  progress: z.number().nullish(),
  reason: z.string().nullish(),
});

const atRest = new Set(["available", "invalid", "stopped", "not_downloaded"]);

export function psCommand(): Command {
  const command = new Command("ps")
    .description("show what the running server has loaded")
    .option("--all", "the models that are not loaded, too")
    .addHelpText("after", "\nExamples:\n  llamapod ps\n  llamapod ps --url http://gpu-box:8080 --json");
  withJson(withServer(command));
  return command.action(async ({ all }: { all?: true }) => {
    const { models } = await getJson(serverAccess(command), "api/models", z.object({ models: z.array(model) }));
    const shown = models.filter(({ state, active }) => all === true || active || !atRest.has(state));
    if (commonOptions(command).json) {
      printJson({ models: shown });
      return;
    }
    printTable(
      [
        { title: "MODEL" },
        { title: "STATE" },
        { title: "ACTIVE" },
        { title: "SIZE", align: "right" },
        { title: "MEMORY", align: "right" },
      ],
      shown.map(({ id, state, active, size_bytes, memory_estimate_bytes, progress }) => [
        id,
        typeof progress === "number" ? `${state} ${Math.floor(progress * 100)}%` : state,
        active ? "yes" : "",
        bytes(size_bytes),
        typeof memory_estimate_bytes === "number" ? bytes(memory_estimate_bytes) : "",
      ]),
    );
  });
}
