import { once } from "node:events";
import { spawn } from "node:child_process";
import { stat } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { asUser, hardening, image, podman, realModels, realModelsFolder } from "../../test/podman/podman.ts";
import { runProgram } from "./program.ts";

const program = fileURLToPath(new URL("../../src/main.js", import.meta.url));
const containerName = "llamapod-bench";

/** The same server with the same model and settings, run in one way or another. */
export interface Way {
  readonly name: string;
  /** @returns once the server has been started, not once it answers */
  start(port: number): Promise<Started>;
}

export interface Started {
  /** The server's process, as this machine numbers it. */
  pid(): Promise<number>;
  stop(): Promise<void>;
}

export interface Settings {
  readonly threads: number;
  readonly model: string;
}

const argumentsOf = ({ threads, model }: Settings) => [
  "serve",
  ...["--model", model],
  ...["--slots", "1"],
  ...["--context-size", "1024"],
  ...["--threads", String(threads)],
  ...["--gpu", "off"],
  ...["--log-level", "warn"],
];

export function bareHost(settings: Settings): Way {
  return {
    name: "bare host",
    start: async (port) => {
      const folder = await realModelsFolder();
      const place = ["--port", String(port), "--models-dir", folder];
      const child = spawn(process.execPath, [program, ...argumentsOf(settings), ...place], { stdio: "ignore" });
      await once(child, "spawn");
      return {
        pid: () => Promise.resolve(child.pid ?? 0),
        stop: async () => {
          const ended = once(child, "exit");
          child.kill("SIGTERM");
          await ended;
        },
      };
    },
  };
}

/** Rootless, with all its rights taken away, reached in the way that `network` says. */
export function container(name: string, settings: Settings, network: (port: number) => readonly string[]): Way {
  return {
    name,
    start: async (port) => {
      await podman("run", "--detach", ...(await rootless(settings, network(port))));
      return underPodman;
    },
  };
}

/** Without a network: the first connection starts it, and it gets the port from who holds it. */
export function socketActivated(settings: Settings): Way {
  return {
    name: "socket activation",
    start: async (port) => {
      const holder = ["systemd-socket-activate", "--setenv=XDG_RUNTIME_DIR", `--listen=127.0.0.1:${port}`];
      const run = ["podman", "run", ...(await rootless(settings, ["--network=none"]))];
      const ended = asUser([...holder, ...run], {}, longestRunMs);
      return {
        ...underPodman,
        stop: async () => {
          await underPodman.stop();
          await ended;
        },
      };
    },
  };
}

/** Longer than a round takes. */
const longestRunMs = 600_000;

async function rootless(settings: Settings, network: readonly string[]): Promise<readonly string[]> {
  return ["--name", containerName, ...hardening, await realModels(), ...network, image, ...argumentsOf(settings)];
}

const underPodman: Started = {
  pid: async () => Number(await podman("inspect", "--format", "{{.State.Pid}}", containerName)),
  stop: async () => {
    await podman("rm", "--force", "--time", "20", "--ignore", "--volumes", containerName);
  },
};

/** Docker's, as root starts it, with the same rights taken away; the models' owner serves, as nobody else may read them. */
export function docker(settings: Settings): Way {
  return {
    name: "Docker, published port",
    start: async (port) => {
      const folder = await realModelsFolder();
      const { uid, gid } = await stat(folder);
      const confined = [
        ...["--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"],
        "--tmpfs=/tmp:rw,size=64m,mode=1777,noexec,nosuid,nodev",
        `--user=${uid}:${gid}`,
      ];
      const place = ["--publish", `127.0.0.1:${port}:8080`, "--volume", `${folder}:/models:ro`];
      const run = ["run", "--detach", "--name", containerName, ...confined, ...place, image];
      await runProgram("docker", [...run, ...argumentsOf(settings), "--models-dir", "/models"]);
      return {
        pid: async () => Number(await runProgram("docker", ["inspect", "--format", "{{.State.Pid}}", containerName])),
        stop: async () => {
          await runProgram("docker", ["stop", "--time", "20", containerName]);
          await runProgram("docker", ["rm", "--volumes", containerName]);
        },
      };
    },
  };
}
