import { Command } from "commander";
import { modelRows } from "./model-rows.ts";
import { bytes, printJson, printTable } from "./output.ts";
import { catalogueOf, commonOptions, configOf, withJson, withModelsFolder } from "./settings.ts";

export function listCommand(): Command {
  const command = new Command("list")
    .alias("ls")
    .description("show the models that are here and those that can be pulled")
    .option("--downloaded", "only those that have a file here")
    .addHelpText(
      "after",
      `
Needs no running server: it looks into the models folder.

Examples:
  llamapod list
  llamapod list --json | jq -r '.models[] | select(.state == "available").id'`,
    );
  withJson(withModelsFolder(command));
  return command.action(async ({ downloaded }: { downloaded?: true }) => {
    const options = commonOptions(command);
    const config = configOf(options);
    const catalogue = await catalogueOf(config);
    const rows = modelRows(catalogue).filter(({ state }) => downloaded !== true || state !== "not_downloaded");
    if (options.json) {
      printJson({ folder: config.modelsDir, models: rows, complaints: catalogue.complaints });
      return;
    }
    for (const complaint of catalogue.complaints) process.stderr.write(`llamapod: ${complaint}\n`);
    printTable(
      [
        { title: "MODEL" },
        { title: "STATE" },
        { title: "SIZE", align: "right" },
        { title: "CONTEXT", align: "right" },
        { title: "LICENCE" },
      ],
      rows.map(({ id, state, size_bytes, context_size, licence }) => [
        id,
        state.replace("_", " "),
        size_bytes === undefined ? "" : bytes(size_bytes),
        context_size === undefined ? "" : String(context_size),
        licence ?? "",
      ]),
    );
    for (const { id, reason } of rows) if (reason !== undefined) process.stderr.write(`\n${id}: ${reason}\n`);
  });
}
