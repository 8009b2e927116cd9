import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { Command } from "commander";
import { z } from "zod";
import { operationObject, type OperationObject } from "../protocol/operator.ts";
import { CommandError } from "./exit-codes.ts";
import { printJsonLine } from "./output.ts";
import { authorization, deleteJson, getJson, postJson, serverAccess, unreachable, type ServerAccess } from "./server-access.ts";
import { commonOptions, withJson, withServer } from "./settings.ts";

export function switchCommand(): Command {
  const command = new Command("switch")
    .description("make a model of the running server the one that answers")
    .argument("<model>", "its id or alias")
    .addHelpText(
      "after",
      `
Shows what is being done, and ends when the model answers, or when it cannot be loaded; then the model before it
is active again. Ctrl-C calls the switch off.

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
    const operation = await postJson(access, `api/models/${encodeURIComponent(id)}/switch`, {}, operationObject);
    const callOff = () => {
      // What has become of it is told by the operation itself.
      deleteJson(access, `api/operations/${operation.id}`, operationObject).catch(() => undefined);
    };
    process.once("SIGINT", callOff).once("SIGTERM", callOff);
    try {
      await follow(access, operation, tell);
    } finally {
      process.off("SIGINT", callOff).off("SIGTERM", callOff);
    }
    if (!json) process.stdout.write(`${id} answers now\n`);
  });
}

/** @throws {CommandError} with the server's reason, or that it was called off */
async function follow(
  access: ServerAccess,
  { id }: OperationObject,
  tell: (state: string, progress?: number) => void,
): Promise<void> {
  let told = "";
  for await (const { state, phase, done_bytes, total_bytes, error } of statuses(access, id)) {
    if (state === "cancelled") throw new CommandError("interrupted", "The switch was called off; the model before it is active.");
    if (state === "failed") throw new CommandError("failed", error?.message ?? "The switch has failed.");
    if (state === "done") {
      tell("ready");
      return;
    }
    const progress = phase === "loading" && total_bytes > 0 ? done_bytes / total_bytes : undefined;
    const step = `${phase ?? state} ${progress === undefined ? "" : Math.floor(progress * 10)}`;
    if (step !== told) tell(phase ?? state, progress);
    told = step;
  }
  throw unreachable(access.url);
}

/** Of an operation, as they come. @throws {CommandError} `unreachable` */
async function* statuses(access: ServerAccess, id: string): AsyncGenerator<OperationObject> {
  const { url } = access;
  try {
    const headers = { ...authorization(access), Accept: "text/event-stream" };
    const response = await fetch(new URL(`api/operations/${id}`, url), { headers });
    if (response.body === null) return;
    for await (const line of createInterface({ input: Readable.fromWeb(response.body) })) {
      if (line.startsWith("data: ")) yield operationObject.parse(JSON.parse(line.slice("data: ".length)));
    }
  } catch (cause) {
    throw unreachable(url, cause);
  }
}
