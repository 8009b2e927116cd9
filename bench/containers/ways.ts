import { once } from "node:events";
import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { asUser, hardening, image, podman, realModels, realModelsFolder } from "../../test/podman/podman.ts";

const execute = promisify(execFile);
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

/** Starts a container with these arguments of `podman run`, that is reached over a port. */
type Start = (run: readonly string[], port: number) => Promise<unknown>;

const atOnce: Start = (run) => podman("run", ...run);

/** As systemd does with a socket unit: the port is open at once, and the first connection starts the container, which inherits it. */
export const onConnection: Start = (run, port) => {
  const variables = ["HOME", "PATH", "TMPDIR", "XDG_RUNTIME_DIR"].map((name) => `--setenv=${name}`);
  const activate = ["systemd-socket-activate", `--listen=127.0.0.1:${port}`, ...variables, "podman", "run", ...run];
  return asUser(["sh", "-c", 'exec setsid --fork "$@" > /dev/null 2>&1', "sh", ...activate]);
};

/** Rootless, with all its rights taken away, reached in the way that `network` says. */
export function container(name: string, settings: Settings, network: (port: number) => readonly string[], start = atOnce): Way {
  return {
    name,
    start: async (port) => {
      const options = [...hardening, await realModels(), ...network(port)];
      await start(["--detach", "--name", containerName, ...options, image, ...argumentsOf(settings)], port);
      return {
        pid: async () => Number(await podman("inspect", "--format", "{{.State.Pid}}", containerName)),
        stop: async () => {
          await podman("rm", "--force", "--time", "20", "--ignore", "--volumes", containerName);
        },
      };
    },
  };
}

/** The other engine, as it is run mostly: by root, with the same rights taken away. */
export function docker(settings: Settings): Way {
  return {
    name: "Docker",
    start: async (port) => {
      const options = [...withoutPodmansOwn(hardening), await realModels(), "--publish", `127.0.0.1:${port}:8080`];
      await execute("docker", ["run", "--detach", "--name", containerName, ...options, image, ...argumentsOf(settings)]);
      return {
        pid: async () => Number((await execute("docker", ["inspect", "--format", "{{.State.Pid}}", containerName])).stdout),
        stop: async () => {
          await execute("docker", ["stop", "--time", "20", containerName]);
          await execute("docker", ["rm", "--volumes", containerName]);
        },
      };
    },
  };
}

const withoutPodmansOwn = (options: readonly string[]) =>
  options.filter((option) => !/^--(userns|read-only-tmpfs)=/.test(option));

/** Whether the program is there and does what it is asked for first. */
export const works = (program: string, ...args: readonly string[]) =>
  execute(program, args).then(
    () => true,
    () => false,
  );
