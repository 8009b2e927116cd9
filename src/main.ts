#!/usr/bin/env node
import { CommanderError } from "commander";
import { exitCodes, CommandError } from "./cli/exit-codes.ts";
import { llamapodProgram } from "./cli/program.ts";
import { ConfigError } from "./config.ts";

// A reader such as `head` may have seen enough.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(exitCodes.ok.code);
  throw error;
});

try {
  await llamapodProgram().parseAsync();
} catch (thrown) {
  if (thrown instanceof CommanderError) process.exit(thrown.exitCode === 0 ? 0 : exitCodes.usage.code);
  if (!(thrown instanceof CommandError) && !(thrown instanceof ConfigError)) throw thrown;
  process.stderr.write(`llamapod: ${thrown.message}\n`);
  process.exit(thrown instanceof CommandError ? thrown.exitCode : exitCodes.usage.code);
}
