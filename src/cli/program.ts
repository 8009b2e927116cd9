import { Command } from "commander";
import { version } from "../version.ts";
import { exitCodeHelp } from "./exit-codes.ts";
import { listCommand } from "./list.ts";
import { pullCommand } from "./pull.ts";
import { serveCommand } from "./serve.ts";

/** The whole command line. */
export function llamapodProgram(): Command {
  const program = new Command("llamapod")
    .description("Serves GGUF language models over WebSocket and HTTP.")
    .version(version)
    .showHelpAfterError("(llamapod --help lists what there is)")
    .exitOverride()
    .addHelpText("after", exitCodeHelp());
  for (const command of [serveCommand(), pullCommand(), listCommand()]) {
    program.addCommand(command.copyInheritedSettings(program));
  }
  return program;
}
