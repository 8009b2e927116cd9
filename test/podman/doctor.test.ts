import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, test } from "node:test";
import { z } from "zod";

const finding = z.strictObject({ id: z.string(), level: z.enum(["ok", "warn", "fail"]), message: z.string(), fix: z.string() });

/** What `podman` answers on a host in order, by the beginning of its arguments. */
const healthyPodman = {
  "version --format": "5.4.2",
  "info --format {{.Store.GraphDriverName}}": "overlay",
  "info --format {{.Store.GraphRoot}}": "/",
  info: "",
  "image exists": "",
};

const driver = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Tue Jul 1\n";

/** A host is its files and its commands; those of this machine are not asked. */
class Host {
  readonly root: string;
  readonly bin: string;

  private constructor(root: string) {
    this.root = root;
    this.bin = join(root, "bin");
  }

  static async healthy(): Promise<Host> {
    const host = new Host(await mkdtemp(join(tmpdir(), "llamapod-doctor-")));
    const { username, uid } = userInfo();
    await host.file("etc/subuid", `someone:100000:65536\n${username}:165536:65536\n`);
    await host.file("etc/subgid", `someone:100000:65536\n${username}:165536:65536\n`);
    await host.file("proc/sys/user/max_user_namespaces", "96000\n");
    await host.file("proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 12000000 kB\n");
    await host.file("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n");
    await host.file(`sys/fs/cgroup/user.slice/user-${uid}.slice/user@${uid}.service/cgroup.controllers`, "cpu memory pids\n");
    await host.file("run/.keep", "");
    await host.podman(healthyPodman);
    for (const name of ["newuidmap", "newgidmap", "systemctl", "pasta"]) await host.command(name, "exit 0");
    await host.command("loginctl", "echo yes");
    await host.command("df", "echo Avail; echo 50000000");
    await host.command("id", `case $1 in -u) echo ${uid === 0 ? 1000 : uid} ;; *) echo ${username} ;; esac`);
    await host.file("sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers", "cpu memory pids\n");
    return host;
  }

  async file(path: string, content: string): Promise<void> {
    await mkdir(dirname(join(this.root, path)), { recursive: true });
    await writeFile(join(this.root, path), content);
  }

  async command(name: string, body: string): Promise<void> {
    await this.file(`bin/${name}`, `#!/bin/bash\n${body}\n`);
    await chmod(join(this.bin, name), 0o755);
  }

  async podman(answers: Readonly<Record<string, string | undefined>>): Promise<void> {
    const cases = Object.entries(answers).map(([start, answer]) => {
      return `'${start}'*) ${answer === undefined ? "exit 1" : `printf %s '${answer}'`} ;;`;
    });
    await this.command("podman", `case "$*" in\n${cases.join("\n")}\n*) exit 1 ;;\nesac`);
  }

  /** Takes files or commands away. */
  async without(...paths: readonly string[]): Promise<void> {
    await Promise.all(paths.map((path) => rm(join(this.root, path), { recursive: true })));
  }

  async examine() {
    // Of this machine only the tools that the script is written with.
    const tools = ["awk", "bash", "cat", "date", "dirname", "grep", "head", "sed", "stat", "tail"];
    await Promise.all(tools.map((tool) => symlink(`/usr/bin/${tool}`, join(this.bin, tool))));
    const child = spawn("/bin/bash", ["deploy/podman/doctor.sh", "--json"], {
      env: { PATH: this.bin, LLAMAPOD_DOCTOR_ROOT: this.root, XDG_RUNTIME_DIR: join(this.root, "run"), LLAMAPOD_PORT: "1" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [output, [code]] = await Promise.all([text(child.stdout), once(child, "exit") as Promise<[number | null]>]);
    const findings = output
      .trim()
      .split("\n")
      .map((line) => finding.parse(JSON.parse(line)));
    return { code, findings, worst: findings.filter(({ level }) => level !== "ok") };
  }
}

const illnesses: { what: string; id: string; level: "warn" | "fail"; fix: RegExp; make: (host: Host) => Promise<void> }[] = [
  { what: "no podman", id: "engine", level: "fail", fix: /apt-get install podman/, make: (host) => host.without("bin/podman") },
  {
    what: "an old podman",
    id: "engine",
    level: "fail",
    fix: /--engine docker/,
    make: (host) => host.podman({ ...healthyPodman, "version --format": "3.4.4" }),
  },
  {
    what: "a podman without Quadlet",
    id: "engine",
    level: "warn",
    fix: /start\.sh/,
    make: (host) => host.podman({ ...healthyPodman, "version --format": "4.9.3" }),
  },
  {
    what: "no ids, with a free range in the fix",
    id: "subids",
    level: "fail",
    fix: /--add-subuids 165536-231071/,
    make: (host) =>
      host.file("etc/subuid", "someone:100000:65536\n").then(() => host.file("etc/subgid", "someone:100000:65536\n")),
  },
  { what: "no newuidmap", id: "uidmap", level: "fail", fix: /install uidmap/, make: (host) => host.without("bin/newuidmap") },
  {
    what: "no user namespaces",
    id: "userns",
    level: "fail",
    fix: /max_user_namespaces=/,
    make: (host) => host.file("proc/sys/user/max_user_namespaces", "0\n"),
  },
  {
    what: "user namespaces for root only",
    id: "userns",
    level: "fail",
    fix: /unprivileged_userns_clone=1/,
    make: (host) => host.file("proc/sys/kernel/unprivileged_userns_clone", "0\n"),
  },
  { what: "no session", id: "session", level: "fail", fix: /enable-linger/, make: (host) => host.without("run") },
  { what: "no systemd", id: "session", level: "warn", fix: /enable-linger/, make: (host) => host.without("bin/systemctl") },
  {
    what: "no lingering",
    id: "linger",
    level: "warn",
    fix: /enable-linger/,
    make: (host) => host.command("loginctl", "echo no"),
  },
  {
    what: "cgroups of version 1",
    id: "cgroup",
    level: "warn",
    fix: /unified_cgroup_hierarchy/,
    make: (host) => host.without("sys/fs/cgroup/cgroup.controllers"),
  },
  {
    what: "no delegation",
    id: "cgroup",
    level: "warn",
    fix: /Delegate=/,
    make: (host) => host.without("sys/fs/cgroup/user.slice"),
  },
  {
    what: "a slow storage driver",
    id: "storage",
    level: "warn",
    fix: /driver = "overlay"/,
    make: (host) => host.podman({ ...healthyPodman, "info --format {{.Store.GraphDriverName}}": "vfs" }),
  },
  {
    what: "a full disk",
    id: "storage",
    level: "warn",
    fix: /image prune/,
    make: (host) => host.command("df", "echo Avail; echo 1000"),
  },
  { what: "no network helper", id: "network", level: "fail", fix: /install passt/, make: (host) => host.without("bin/pasta") },
  {
    what: "no network-online.target",
    id: "netonline",
    level: "warn",
    fix: /wait-online/,
    make: (host) => host.command("systemctl", 'case "$1" in is-active) exit 3 ;; *) exit 0 ;; esac'),
  },
  {
    what: "no image",
    id: "image",
    level: "warn",
    fix: /image\.sh build/,
    make: (host) => host.podman({ ...healthyPodman, "image exists": undefined }),
  },
  {
    what: "little memory",
    id: "memory",
    level: "warn",
    fix: /smaller/,
    make: (host) => host.file("proc/meminfo", "MemAvailable: 900000 kB\n"),
  },
  {
    what: "a driver without devices",
    id: "nv-nodes",
    level: "fail",
    fix: /nvidia-modprobe/,
    make: async (host) => {
      await host.file("proc/driver/nvidia/version", driver);
      await host.file("etc/cdi/nvidia.yaml", "kind: nvidia.com/gpu\n");
    },
  },
  {
    what: "a GPU that containers are not told of",
    id: "cdi",
    level: "fail",
    fix: /nvidia-ctk cdi generate/,
    make: async (host) => {
      await host.file("proc/driver/nvidia/version", driver);
      await host.file("dev/nvidia0", "");
      await host.file("dev/nvidiactl", "");
    },
  },
  {
    what: "a specification from before the driver's update",
    id: "cdi-stale",
    level: "fail",
    fix: /nvidia-cdi-refresh/,
    make: async (host) => {
      await host.file("proc/driver/nvidia/version", driver);
      await host.file("dev/nvidia0", "");
      await host.file("dev/nvidiactl", "");
      await host.file("etc/cdi/nvidia.yaml", "kind: nvidia.com/gpu\nmounts: [{hostPath: /usr/lib/libcuda.so.535}]\n");
    },
  },
];

test("the documents tell of every check, and of no other", async () => {
  const [script, document] = await Promise.all(
    ["deploy/podman/doctor.sh", "docs/podman/troubleshooting.md"].map((path) => readFile(path, "utf8")),
  );
  const ids = (found: Iterable<RegExpMatchArray>) => [...new Set([...found].map(([, id]) => id))].sort();
  const checks = ids(script?.matchAll(/report (?:ok|warn|fail) ([a-z-]+)/g) ?? []);
  assert.deepEqual(ids(document?.matchAll(/^\| `([a-z-]+)` \|/gm) ?? []), checks);
});

describe("doctor", () => {
  let host: Host;

  beforeEach(async () => {
    host = await Host.healthy();
  });
  afterEach(() => rm(host.root, { recursive: true }));

  test("a healthy host", async () => {
    const { code, worst } = await host.examine();
    assert.deepEqual(worst, []);
    assert.equal(code, 0);
  });

  for (const { what, id, level, fix, make } of illnesses) {
    test(what, async () => {
      await make(host);
      const { code, worst } = await host.examine();
      const found = worst.find((candidate) => candidate.id === id);
      assert.equal(found?.level, level, JSON.stringify(worst));
      assert.match(found.fix, fix);
      assert.equal(code, worst.some((candidate) => candidate.level === "fail") ? 3 : 1);
    });
  }
});
