import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { userInfo } from "node:os";
import { StreamClient } from "../support/stream-client.ts";
import { until } from "../support/processes.ts";

/** The user whose rootless Podman is tested; made by `test/podman/run`, which sets this. */
export const testUser = process.env["LLAMAPOD_TEST_PODMAN_USER"];

export const skip = testUser === undefined && "needs Podman and a user made for it: sudo test/podman/run";

export const image = "localhost/llamapod:cpu";

/** Folders of root's that the path of this process may name are closed to that user, which confuses what looks for a program. */
export const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** With it the image is built from what is here already: `test/podman/run` has built it so. */
export const buildEnvironment = {
  NODE_IMAGE: "localhost/llamapod-test/node:1",
  CPU_BASE: "localhost/llamapod-test/base:1",
  SOURCE_DATE_EPOCH: "1700000000",
  BUILD_NETWORK: "host",
  CA_FILE: "/etc/ssl/certs/ca-certificates.crt",
};

/** Longer than any call of the engine takes that ends by itself and builds nothing. */
const usualPatienceMs = 60_000;

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command as that user, in the user's copy of the sources. */
export async function asUser(
  command: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  patienceMs = usualPatienceMs,
): Promise<Finished> {
  const { homedir, uid } = await account();
  const variables = { HOME: homedir, XDG_RUNTIME_DIR: `/run/user/${uid}`, TMPDIR: `${homedir}/tmp`, ...environment };
  const child = spawn("runuser", ["-u", testUser ?? "", "--", ...command], {
    env: { PATH: systemPath, ...variables },
    cwd: `${homedir}/llamapod`,
    stdio: ["ignore", "pipe", "pipe"],
    timeout: patienceMs,
  });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "exit") as Promise<[number | null]>,
  ]);
  return { code, stdout, stderr: stderr.replaceAll(/^time=.*\n/gm, "") };
}

/** Runs podman as that user. @throws {Error} with what it said, unless it succeeds */
export async function podman(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await asUser(["podman", ...args]);
  assert.equal(code, 0, `podman ${args.join(" ")}: ${stderr}`);
  return stdout.trim();
}

async function account(): Promise<{ homedir: string; uid: string }> {
  if (testUser === undefined || userInfo().uid !== 0) throw new Error(String(skip));
  const child = spawn("getent", ["passwd", testUser], { stdio: ["ignore", "pipe", "inherit"] });
  const [, , uid = "", , , homedir = ""] = (await text(child.stdout)).split(":");
  return { homedir, uid };
}

/** A folder of the host with a real model, which nobody but its owner may read: slow enough to be interrupted. */
export const realModelsFolder = async () => `${(await account()).homedir}/models`;

export const realModels = async () => `--volume=${await realModelsFolder()}:/var/lib/llamapod/models:ro`;

/** Everything that takes rights away, as the documents tell: the server has to live with all of it. */
export const hardening = [
  "--read-only",
  "--read-only-tmpfs=false",
  "--cap-drop=all",
  "--security-opt=no-new-privileges",
  "--userns=keep-id:uid=10001,gid=10001",
  "--tmpfs=/tmp:rw,size=64m,mode=1777,noexec,nosuid,nodev",
];

/** A container of the image that goes away with the test. */
export class Container implements AsyncDisposable {
  readonly name: string;
  readonly url: string;

  private constructor(name: string, port: number) {
    this.name = name;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async start(name: string, port: number, options: readonly string[] = [], command: readonly string[] = []) {
    await podman("rm", "--force", "--time", "1", "--ignore", name);
    await podman("run", "--detach", "--name", name, "--publish", `127.0.0.1:${port}:8080`, ...options, image, ...command);
    return new Container(name, port);
  }

  /** @throws {Error} with the log when the container ends instead */
  async ready(): Promise<Readonly<Record<string, unknown>>> {
    let body: unknown;
    await until(async () => {
      const response = await fetch(`${this.url}/health/ready`).catch(() => undefined);
      if (response?.ok === true) body = await response.json();
      else if (!(await this.isRunning())) throw new Error(`${this.name} ended: ${await this.logs()}`);
      return body !== undefined;
    });
    return body as Readonly<Record<string, unknown>>;
  }

  async isRunning(): Promise<boolean> {
    return (await podman("inspect", "--format", "{{.State.Running}}", this.name)) === "true";
  }

  exec(...command: readonly string[]): Promise<Finished> {
    return asUser(["podman", "exec", this.name, ...command]);
  }

  async logs(): Promise<string> {
    const { stdout, stderr } = await asUser(["podman", "logs", this.name]);
    return stdout + stderr;
  }

  /** What the server's own process says of itself in /proc. */
  async status(): Promise<string> {
    return (await this.exec("cat", "/proc/1/status")).stdout;
  }

  connect(): Promise<StreamClient> {
    return StreamClient.connect(this.url);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await podman("rm", "--force", "--time", "1", "--ignore", this.name);
  }
}
