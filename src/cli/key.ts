import { Command } from "commander";
import { scopes } from "../protocol/access.ts";
import { KeysFileError, newKey } from "../server/auth/keys.ts";
import { CommandError } from "./exit-codes.ts";
import { printJson } from "./output.ts";
import { withJson } from "./settings.ts";

export function keyCommand(): Command {
  const command = new Command("key")
    .description("make an API key: it is shown once, the line that goes into the file of --api-keys-file holds only its hash")
    .argument("<name>", "whom it is for")
    .option("--scopes <list>", `what it may do, of ${scopes.join(",")}`, "chat")
    .addHelpText("after", "\nExample:\n  llamapod key alice --scopes chat >> keys");
  return withJson(command).action((name: string, { scopes: granted, json }: { scopes: string; json?: true }) => {
    try {
      const { secret, line } = newKey(name, granted);
      if (json === true) {
        printJson({ name, scopes: granted.split(","), key: secret, line });
        return;
      }
      process.stderr.write(`The key of ${name}, which is not kept anywhere: ${secret}\n`);
      process.stdout.write(`${line}\n`);
    } catch (thrown) {
      throw thrown instanceof KeysFileError ? new CommandError("usage", thrown.message, thrown) : thrown;
    }
  });
}
