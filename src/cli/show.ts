import { Command } from "commander";
import type { MissingModel } from "../models/catalogue.ts";
import { metadataNumber, metadataString } from "../models/gguf/header.ts";
import { LlamapodError } from "../protocol/errors.ts";
import { CommandError } from "./exit-codes.ts";
import { modelRows, type ModelRow } from "./model-rows.ts";
import { bytes, printJson } from "./output.ts";
import { catalogueOf, commonOptions, configOf, withJson, withModelsFolder } from "./settings.ts";

export function showCommand(): Command {
  const command = new Command("show")
    .description("show what is known about a model")
    .argument("<model>", "its id or alias")
    .option("--template", "only the chat template")
    .addHelpText("after", "\nExamples:\n  llamapod show qwen2.5-0.5b\n  llamapod show qwen2.5-0.5b --template");
  withJson(withModelsFolder(command));
  return command.action(async (name: string, { template }: { template?: true }) => {
    const options = commonOptions(command);
    const catalogue = await catalogueOf(configOf(options));
    const entry = catalogue.get(name);
    const id = entry?.id ?? catalogue.definition(name)?.id;
    const row = modelRows(catalogue).find((each) => each.id === id);
    if (row === undefined) {
      throw new CommandError("notFound", `There is no model ${JSON.stringify(name)}. llamapod list shows those that there are.`);
    }
    const definition = entry?.definition ?? catalogue.definition(name)?.definition ?? {};
    const header = entry === undefined || entry.header instanceof LlamapodError ? undefined : entry.header;
    const own = header && metadataString(header, "tokenizer.chat_template");
    const chatTemplate = definition.chatTemplate ?? own;
    if (template === true) {
      if (chatTemplate === undefined)
        throw new CommandError("notFound", `${row.id} brings no chat template; one of llamapod's own is used.`);
      process.stdout.write(`${chatTemplate}\n`);
      return;
    }
    const metadata = header === undefined ? undefined : readable(header.metadata);
    if (options.json) {
      printJson({
        ...row,
        sha256: definition.sha256,
        licence: definition.licence,
        gated: definition.gated,
        stop: definition.stop,
        sampling: definition.sampling,
        chat_template: chatTemplate,
        metadata,
      });
      return;
    }
    const layers = header && metadataNumber(header, `${header.architecture}.block_count`);
    printFacts(row, definition, [
      ["layers", layers === undefined ? undefined : String(layers)],
      ["tensors", header === undefined ? undefined : String(header.tensorCount)],
      [
        "chat template",
        definition.chatTemplate !== undefined ? "of the catalogue" : own === undefined ? undefined : "the file's own",
      ],
    ]);
  });
}

function printFacts(
  row: ModelRow,
  definition: MissingModel["definition"],
  more: readonly (readonly [string, string | undefined])[],
): void {
  const { licence, sampling, stop, sha256, gated } = definition;
  const facts: readonly (readonly [string, string | undefined])[] = [
    ["model", row.id],
    ["title", row.title],
    ["aliases", row.aliases.length === 0 ? undefined : row.aliases.join(", ")],
    ["state", row.state.replace("_", " ")],
    ["reason", row.reason],
    ["file", row.path],
    ["source", row.source],
    ["size", row.size_bytes === undefined ? undefined : `${bytes(row.size_bytes)} (${row.size_bytes} bytes)`],
    ["sha256", sha256],
    ["licence", licence === undefined ? undefined : [licence.name, licence.url].filter((part) => part !== undefined).join(", ")],
    ["gated", gated === true ? "yes: the licence has to be accepted" : undefined],
    ["architecture", row.architecture],
    ["context", row.context_size === undefined ? undefined : `${row.context_size} tokens`],
    [
      "memory",
      row.size_bytes === undefined
        ? undefined
        : `${bytes(row.size_bytes)} for the weights; llamapod ps shows the whole of a loaded model`,
    ],
    ...more,
    [
      "sampling",
      sampling === undefined
        ? undefined
        : Object.entries(sampling)
            .map(([key, value]) => `${key} ${value}`)
            .join(", "),
    ],
    ["stop", stop?.map((each) => JSON.stringify(each)).join(", ")],
  ];
  for (const [name, value] of facts) if (value !== undefined) process.stdout.write(`${name.padEnd(15)}${value}\n`);
}

/** Scalars as they are, arrays by their length. */
function readable(metadata: ReadonlyMap<string, unknown>): Record<string, unknown> {
  return Object.fromEntries([...metadata].map(([key, value]) => [key, typeof value === "bigint" ? Number(value) : value]));
}
