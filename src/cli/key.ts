import { Command } from "commander";
import { scopes } from "../protocol/access.ts";
import { KeysFileError, newKey } from "../server/auth/keys.ts";
import { CommandError } from "./exit-codes.ts";

export function keyCommand(): Command {
  return new Command("key")
    .description("make an API key: it is shown once, the line that goes into the file of --api-keys-file holds only its hash")
    .argument("<name>", "whom it is for")
    .option("--scopes <list>", `what it may do, of ${scopes.join(",")}`, "chat")
    .addHelpText("after", "\nExample:\n  llamapod key alice --scopes chat >> keys")
    .action((name: string, { scopes: granted }: { scopes: string }) => {
      try {
        const { secret, line } = newKey(name, granted);
        process.stderr.write(`The key of ${name}, which is not kept anywhere: ${secret}\n`);
        process.stdout.write(`${line}\n`);
      } catch (thrown) {
        throw thrown instanceof KeysFileError ? new CommandError("usage", thrown.message, thrown) : thrown;
      }
    });
}
