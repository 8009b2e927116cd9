import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { repository } from "../paths.ts";
import { modelName, type Server } from "./server.ts";

export function llamapod(extraArguments: readonly string[]): Server {
  return {
    name: "llamapod",
    version: version(),
    readyPath: "/health/ready",
    command: (settings, port) => ({
      program: process.execPath,
      arguments: [
        join(repository, "dist", "src", "main.js"),
        "serve",
        ...["--port", String(port)],
        ...["--models-dir", dirname(settings.modelPath)],
        ...["--model", modelName(settings)],
        ...["--slots", String(settings.slots)],
        ...["--context-size", String(settings.contextSize)],
        ...["--threads", String(settings.threads)],
        ...["--gpu", settings.device === "gpu" ? "required" : "off"],
        ...["--log-level", "warn"],
        ...extraArguments,
      ],
    }),
  };
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(repository, "package.json"), "utf8"));
  return [z.object({ version: z.string() }).parse(manifest).version, commit()].filter(Boolean).join(" ");
}

/** Empty where the source is not a git checkout. */
function commit(): string {
  try {
    const described = execFileSync("git", ["describe", "--always", "--dirty", "--exclude=*"], {
      cwd: repository,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return `(${described.trim()})`;
  } catch {
    return "";
  }
}
