#!/usr/bin/env node
import { Command, Option } from "commander";
import { pino, type Logger } from "pino";
import { stringify } from "yaml";
import { ConfigError, loadConfig, settings, type Config } from "./config.ts";
import { scopes } from "./protocol/access.ts";
import { LlamapodError } from "./protocol/errors.ts";
import { KeysFileError, newKey } from "./server/auth/keys.ts";
import { Service } from "./service.ts";
import { version } from "./version.ts";

/** What the operator has to change, as opposed to what went wrong here. */
const usageExitCode = 2;

/** A service manager may start it again, or go back to the version before. */
const startFailedExitCode = 3;

const program = new Command("llamapod")
  .description("Serves GGUF language models over WebSocket and HTTP.")
  .version(version)
  .showHelpAfterError("(llamapod --help lists what there is)");

const serve = program
  .command("serve")
  .description("serve the models of a folder")
  .option("--config <file>", "YAML file with settings")
  .option("--print-config", "print the settings in force and exit")
  .addHelpText("after", "\nEach setting is also an environment variable, LLAMAPOD_ and its name, as in LLAMAPOD_MODELS_DIR.");
for (const { flag, description, isSwitch } of settings) {
  serve.addOption(new Option(isSwitch ? flag : `${flag} <value>`, description));
}
serve.action(
  async ({ config: file, printConfig, ...flags }: { config?: string; printConfig?: true } & Record<string, unknown>) => {
    const config = loadConfig(file, process.env, flags);
    if (printConfig === true) process.stdout.write(stringify(config));
    else await run(config);
  },
);

program
  .command("key")
  .description("make an API key: it is shown once, the line that goes into the file of --api-keys-file holds only its hash")
  .argument("<name>", "whom it is for")
  .option("--scopes <list>", `what it may do, of ${scopes.join(",")}`, "chat")
  .action((name: string, { scopes: granted }: { scopes: string }) => {
    const { secret, line } = newKey(name, granted);
    process.stderr.write(`The key of ${name}, which is not kept anywhere: ${secret}\n`);
    process.stdout.write(`${line}\n`);
  });

async function run(config: Config): Promise<void> {
  const log = createLogger(config.logLevel);
  const service = await Service.start(config, log, (cause) => {
    log.fatal({ cause, gpu: config.gpu }, `the server has to have a GPU and cannot start: ${cause}`);
    process.exit(startFailedExitCode);
  });
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
      () => process.exit(0),
      (err: unknown) => {
        log.fatal({ err }, "shutting down failed");
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}

function createLogger(level: string): Logger {
  if (!process.stdout.isTTY) return pino({ level });
  return pino({
    level,
    transport: { target: "pino-pretty", options: { ignore: "pid,hostname", translateTime: "SYS:HH:MM:ss" } },
  });
}

try {
  await program.parseAsync();
} catch (thrown) {
  if (thrown instanceof ConfigError || thrown instanceof LlamapodError || thrown instanceof KeysFileError) {
    process.stderr.write(`llamapod: ${thrown.message}\n`);
    process.exit(usageExitCode);
  }
  if (!isRefusalToListen(thrown)) throw thrown;
  process.stderr.write(`llamapod: ${thrown.message}. Choose another address or port with --host and --port.\n`);
  process.exit(usageExitCode);
}

/** Such as a port in use, one that only root may take, an address that is not this machine's, or an unknown name. */
function isRefusalToListen(thrown: unknown): thrown is Error {
  return thrown instanceof Error && "syscall" in thrown && (thrown.syscall === "listen" || thrown.syscall === "getaddrinfo");
}
