import { Command } from "commander";
import { version } from "../version.ts";
import { benchCommand } from "./bench.ts";
import { completionCommand } from "./completion.ts";
import { doctorCommand } from "./doctor.ts";
import { exitCodeHelp } from "./exit-codes.ts";
import { keyCommand } from "./key.ts";
import { listCommand } from "./list.ts";
import { psCommand } from "./ps.ts";
import { pullCommand } from "./pull.ts";
import { rmCommand } from "./rm.ts";
import { runCommand } from "./run.ts";
import { serveCommand } from "./serve.ts";
import { showCommand } from "./show.ts";
import { switchCommand } from "./switch.ts";

const settingsHelp = `
Settings come from flags, then the environment (LLAMAPOD_PORT, LLAMAPOD_MODELS_DIR, ...), then the YAML file of
--config, then the defaults; llamapod serve --help lists them. Models lie in ~/.local/share/llamapod/models, with
models.yaml beside them.`;

/** The whole command line. */
export function llamapodProgram(): Command {
  const program = new Command("llamapod")
    .description("Serves GGUF language models over WebSocket and HTTP.")
    .version(version)
    .showHelpAfterError("(llamapod --help lists what there is)")
    .exitOverride()
    .addHelpText("after", exitCodeHelp());
  const commands = [
    serveCommand(),
    pullCommand(),
    listCommand(),
    showCommand(),
    rmCommand(),
    psCommand(),
    switchCommand(),
    runCommand(),
    benchCommand(),
    keyCommand(),
    doctorCommand(),
    completionCommand(() => program.commands),
  ];
  for (const command of commands) {
    program.addCommand(command.copyInheritedSettings(program));
    command.showHelpAfterError(`(llamapod ${command.name()} --help lists what there is)`);
    // It is a script that runs without llamapod too: it has no settings, and exit codes of its own.
    if (command.name() !== "doctor") command.addHelpText("after", `${settingsHelp}\n${exitCodeHelp()}`);
  }
  return program;
}
