import { Option, type Command } from "commander";
import { pino, type Logger } from "pino";
import { z } from "zod";
import { loadConfig, settings, type Config } from "../config.ts";
import { Catalogue } from "../models/catalogue.ts";
import { modelSources } from "../models/sources.ts";

/** The options that commands share, and what is made of them. */

const common = z.object({
  config: z.string().optional(),
  modelsDir: z.string().optional(),
  url: z.string().optional(),
  json: z.boolean().default(false),
});

export type CommonOptions = z.output<typeof common>;

export function commonOptions(command: Command): CommonOptions {
  return common.parse(command.opts());
}

export function withConfigOption(command: Command): Command {
  return command.option("--config <file>", "YAML file with settings");
}

export function withModelsFolder(command: Command): Command {
  const described = settings.find(({ key }) => key === "modelsDir")?.description ?? "";
  return withConfigOption(command).addOption(new Option("--models-dir <folder>", described));
}

export function withJson(command: Command): Command {
  return command.option("--json", "print JSON instead of text for people");
}

/** A running server's address; by default the one that `serve` would take with the same settings. */
export function withServer(command: Command): Command {
  return withServerAddress(withConfigOption(command));
}

/** For a command that has the option of a configuration file already. */
export function withServerAddress(command: Command): Command {
  return command
    .addOption(new Option("--url <url>", "address of the running server (default: from the settings)").env("LLAMAPOD_URL"))
    .addOption(new Option("--api-key <key>", "key for the server, if it asks for one").env("LLAMAPOD_API_KEY"));
}

/** The settings in force. What only `serve` has to be careful about stops no other command. */
export function configOf({ config, modelsDir }: CommonOptions): Config {
  return loadConfig(config, process.env, {
    ...(modelsDir !== undefined && { modelsDir }),
    allowUnauthenticated: true,
  });
}

/** The catalogue as it lies on disk, read once. */
export async function catalogueOf(config: Config): Promise<Catalogue> {
  const catalogue = new Catalogue(modelSources(config), silent);
  await catalogue.scan();
  return catalogue;
}

/** What commands have to say goes to the user, not to a log. */
const silent: Logger = pino({ level: "silent" });
