import { dirname } from "node:path";
import { llamapod } from "../servers/llamapod.ts";
import { llamaServer } from "../servers/llama-server.ts";
import type { Server } from "../servers/server.ts";

/** @param resident how many models may be loaded at the same time */
export function llamapodOfFolder(resident: number): Server {
  return llamapod(["--max-resident", String(resident), "--demo-models", "false"]);
}

/** llama-server without a model of its own: it starts a llama-server for each model that is asked for. */
export function routerOfFolder(program: string, resident: number): Server {
  const server = llamaServer(program, ["--models-max", String(resident)]);
  return {
    ...server,
    command: (settings, port) => {
      const command = server.command(settings, port);
      const [, , ...rest] = command.arguments;
      return { ...command, arguments: ["--models-dir", dirname(settings.modelPath), ...rest] };
    },
  };
}
