import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Command } from "commander";

/** One list of checks, which runs on a host without Node.js too. */
const script = fileURLToPath(new URL("../../../deploy/podman/doctor.sh", import.meta.url));

/** It cannot look at a host from here, as in a container or without bash. */
const cannotLookExitCode = 2;

/** What on this host stands in the way of running, in a container or by Node.js, and the fix. */
export function doctorCommand(): Command {
  return new Command("doctor")
    .description(
      "look at this host and this user for what keeps the server from running, in containers or by Node.js, and print the fixes",
    )
    .option("--config <file>", "YAML file with settings of a server without a container")
    .option("--json", "an object a line: id, finding, level (ok, warn, fail), message, who, fix, or")
    .addHelpText(
      "after",
      "\nExit codes: 0 all well, 1 warnings, 3 something fails, 2 no host to look at from here. Nothing is changed.\n\nExample:\n  llamapod doctor --json",
    )
    .action(async ({ json, config }: { json?: true; config?: string }) => {
      if (!existsSync(script)) {
        process.stderr.write(
          "llamapod: doctor looks at the host of a container. Run deploy/podman/doctor.sh of the sources there.\n",
        );
        process.exitCode = cannotLookExitCode;
        return;
      }
      const flags = [...(json === true ? ["--json"] : []), ...(config === undefined ? [] : ["--config", config])];
      const child = spawn("bash", [script, ...flags], { stdio: "inherit" });
      const [code] = (await once(child, "exit")) as [number | null];
      process.exitCode = code ?? cannotLookExitCode;
    });
}
