import { Command } from "commander";
import { z } from "zod";
import { CommandError } from "./exit-codes.ts";
import { printJsonLine } from "./output.ts";
import { getJson, serverAccess, unreachable } from "./server-access.ts";
import { commonOptions, withJson, withServer } from "./settings.ts";
import { ConnectionLost, StreamConnection } from "./stream-connection.ts";

export function switchCommand(): Command {
  const command = new Command("switch")
    .description("make a model of the running server the one that answers")
    .argument("<model>", "its id or alias")
    .addHelpText(
      "after",
      `
Shows the states that the model passes, and ends when it answers, or when it cannot be loaded; then the model
before it is active again. Interrupting the command does not stop the switch.

Example:
  llamapod switch qwen2.5-0.5b`,
    );
  withJson(withServer(command));
  return command.action(async (name: string) => {
    const access = serverAccess(command);
    const { json } = commonOptions(command);
    const { id } = await getJson(access, `api/models/${encodeURIComponent(name)}`, z.object({ id: z.string() }));
    const tell = (state: string, progress?: number) => {
      if (json) printJsonLine({ model: id, state, progress });
      else process.stderr.write(`${id}: ${state}${progress === undefined ? "" : ` ${Math.floor(progress * 100)}%`}\n`);
    };
    try {
      using connection = await StreamConnection.open(access);
      await switchOver(connection, id, tell);
    } catch (thrown) {
      throw thrown instanceof ConnectionLost ? unreachable(access.url, thrown) : thrown;
    }
    if (!json) process.stdout.write(`${id} answers now\n`);
  });
}

/** @throws {CommandError} with the server's reason */
async function switchOver(
  connection: StreamConnection,
  id: string,
  tell: (state: string, progress?: number) => void,
): Promise<void> {
  const hello = await connection.hello();
  const now = hello.models.find((model) => model.id === id);
  if (now?.active === true && now.state === "ready") return;
  connection.send({ type: "switch", model: id });
  let told = "";
  for (;;) {
    const message = await connection.next();
    if (message.type === "error" && message.id === undefined) {
      throw new CommandError(message.code.startsWith("model_not") ? "notFound" : "failed", message.message);
    }
    if (message.type !== "model" || message.id !== id) continue;
    const { state, progress, active } = message;
    const step = `${state} ${progress === undefined ? "" : Math.floor(progress * 10)}`;
    if (step !== told) tell(state, progress);
    told = step;
    if (active && state === "ready") return;
  }
}
