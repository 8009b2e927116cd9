import { lstat } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { Command } from "commander";
import { ModelPlace } from "../models/download/model-folder.ts";
import { operationObject } from "../protocol/operator.ts";
import { CommandError } from "./exit-codes.ts";
import { bytes, printJson } from "./output.ts";
import { postJson, serverAccess } from "./server-access.ts";
import { catalogueOf, commonOptions, configOf, withJson, withModelsFolder, withServerAddress } from "./settings.ts";

export function rmCommand(): Command {
  const command = new Command("rm")
    .description("delete the files of a model from the models folder")
    .argument("<model>", "its id or alias")
    .option("-y, --yes", "do not ask")
    .addHelpText(
      "after",
      `
Deletes nothing outside the models folder: of a linked file only the link. A running server that has the model loaded
is told to unload it first; answers that are under way still end.

Example:
  llamapod rm qwen2.5-0.5b --yes`,
    );
  withJson(withServerAddress(withModelsFolder(command)));
  return command.action(async (name: string, { yes }: { yes?: true }) => {
    const options = commonOptions(command);
    const { modelsDir } = configOf(options);
    const catalogue = await catalogueOf({ ...configOf(options), modelsDir });
    const entry = catalogue.get(name);
    if (entry === undefined)
      throw new CommandError("notFound", `There is no file of a model ${JSON.stringify(name)} in ${modelsDir}.`);
    const paths = entry.file.paths.filter((path) => resolve(dirname(path)) === resolve(modelsDir));
    if (paths.length === 0) throw new CommandError("usage", `The files of ${entry.id} are not in ${modelsDir}, and stay.`);
    const sizes = await Promise.all(
      paths.map((path) =>
        lstat(path).then(
          ({ size }) => size,
          () => 0,
        ),
      ),
    );
    const sizeBytes = sizes.reduce((sum, size) => sum + size, 0);
    if (yes !== true && !(await confirmed(`Delete ${paths.join(", ")} (${bytes(sizeBytes)})?`))) {
      throw new CommandError("failed", "Nothing was deleted.");
    }
    await unload(command, entry.id);
    for (const path of paths) await (await ModelPlace.in(modelsDir, basename(path))).remove();
    if (options.json) printJson({ model: entry.id, deleted: paths, size_bytes: sizeBytes });
    else process.stdout.write(`${entry.id} is deleted: ${bytes(sizeBytes)} free again\n`);
  });
}

/** Where a server runs that knows the model. @throws {CommandError} `denied` where it wants a key */
async function unload(command: Command, id: string): Promise<void> {
  try {
    await postJson(serverAccess(command), `api/models/${encodeURIComponent(id)}/unload`, {}, operationObject);
  } catch (thrown) {
    const isNobodyThere = thrown instanceof CommandError && ["unreachable", "notFound", "failed"].includes(thrown.reason);
    if (!isNobodyThere) throw thrown;
  }
}

/** @throws {CommandError} `usage` where there is nobody to ask */
async function confirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) throw new CommandError("usage", `${question} There is no terminal to ask on: add --yes.`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const reply = await terminal.question(`${question} [y/N] `);
  terminal.close();
  return /^y(es)?$/i.test(reply.trim());
}
