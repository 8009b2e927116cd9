import { Command, Option } from "commander";
import type { Logger } from "pino";
import { stringify } from "yaml";
import { loadConfig, settings, type Config } from "../config.ts";
import { openLog, type Logging } from "../logging/logger.ts";
import { LlamapodError } from "../protocol/errors.ts";
import { Service } from "../service.ts";
import { CommandError, exitCodes } from "./exit-codes.ts";

export function serveCommand(): Command {
  const command = new Command("serve")
    .description("serve the models of a folder")
    .option("--config <file>", "YAML file with settings")
    .option("--print-config", "print the settings in force and exit")
    .addHelpText("after", "\nEach setting is also an environment variable, LLAMAPOD_ and its name, as in LLAMAPOD_MODELS_DIR.")
    .addHelpText(
      "after",
      `
Examples:
  llamapod serve
  llamapod serve --models-dir ~/models --model qwen2.5-0.5b --slots 8
  LLAMAPOD_PORT=9000 llamapod serve --config llamapod.yaml`,
    );
  for (const { flag, description, isSwitch } of settings) {
    command.addOption(new Option(isSwitch ? flag : `${flag} <value>`, description));
  }
  return command.action(
    async ({ config: file, printConfig, ...flags }: { config?: string; printConfig?: true } & Record<string, unknown>) => {
      const config = loadConfig(file, process.env, flags);
      if (printConfig === true) process.stdout.write(stringify(config));
      else await serve(config);
    },
  );
}

async function serve(config: Config): Promise<void> {
  const { log, close } = tryToOpenLog(config);
  let isExiting = false;
  /** With every line written, the one that says why in particular. */
  const exit = async (code: number) => {
    if (isExiting) return;
    isExiting = true;
    await close();
    process.exit(code);
  };
  const service = await start(config, log, exit);
  log.info({ url: service.url }, `chat page at ${service.url}/`);
  let stopping = false;
  const stop = (signal: string) => {
    if (stopping) {
      service.hurry();
      return;
    }
    stopping = true;
    log.info({ signal }, "shutting down: answers under way may end, a second signal hurries");
    service.stop().then(
      () => exit(exitCodes.ok.code),
      (err: unknown) => {
        log.fatal({ err }, "shutting down failed");
        return exit(exitCodes.failed.code);
      },
    );
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}

async function start(config: Config, log: Logger, exit: (code: number) => Promise<void>): Promise<Service> {
  try {
    return await Service.start(config, log, (cause) => {
      const need = config.gpu === "required" ? "has to have a GPU and " : "";
      log.fatal({ cause, gpu: config.gpu }, `the server ${need}cannot start: ${cause}`);
      void exit(exitCodes.startFailed.code);
    });
  } catch (thrown) {
    if (thrown instanceof LlamapodError) throw new CommandError("usage", thrown.message, thrown);
    if (!isRefusalToListen(thrown)) throw thrown;
    throw new CommandError("usage", `${thrown.message}. Choose another address or port with --host and --port.`, thrown);
  }
}

/** @throws {CommandError} where the log file cannot be written */
function tryToOpenLog(config: Config): Logging {
  try {
    return openLog(config);
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new CommandError("usage", `The log file ${config.logFile ?? ""} cannot be written: ${reason}.`, thrown);
  }
}

/** Such as a port in use, one that only root may take, an address that is not this machine's, or an unknown name. */
function isRefusalToListen(thrown: unknown): thrown is Error {
  return thrown instanceof Error && "syscall" in thrown && (thrown.syscall === "listen" || thrown.syscall === "getaddrinfo");
}
