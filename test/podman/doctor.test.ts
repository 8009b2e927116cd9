import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmod, readFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { z } from "zod";
import type { planObject } from "../../src/protocol/operator.ts";
import { runCommand } from "../support/processes.ts";
import { FakeHost, instead, type Answers } from "./fake-host.ts";
import { FakeServer, ready } from "./fake-server.ts";

const finding = z.strictObject({
  id: z.string(),
  finding: z.string(),
  level: z.enum(["ok", "warn", "fail"]),
  message: z.string(),
  who: z.enum(["user", "administrator", ""]),
  fix: z.string(),
  or: z.string(),
});

const driver = (version: string) => `NVRM version: NVIDIA UNIX x86_64 Kernel Module  ${version}  Tue Jul 1\n`;
const description = (library: string) => `kind: nvidia.com/gpu
devices:
- name: all
  containerEdits: {deviceNodes: [{path: /dev/nvidia0}]}
containerEdits:
  hooks: [{hookName: createContainer, path: /usr/bin/nvidia-cdi-hook}]
  mounts: [{hostPath: ${library}, containerPath: /usr/lib/libcuda.so.1}]
`;
const library = "/usr/lib/libcuda.so.580.65.06";

/** What `podman` answers on a host in order. */
const healthyPodman: Answers = {
  "version --format*": "echo 5.4.2",
  "info --format {{.Store.GraphDriverName}}": "echo overlay",
  "info --format {{.Store.GraphRoot}}": "echo /",
  info: "",
  "unshare cat /proc/self/uid_map": "printf '0 1000 1\\n1 165536 65536\\n'",
  "image exists *:cpu": "",
  "image inspect --format {{.Architecture}} *": "echo amd64",
  "image inspect --format {{json .HealthCheck}} *": `echo '{"Test":["CMD","/usr/local/bin/healthcheck"]}'`,
  "run *": "",
  "volume exists llamapod-data": "",
  "volume inspect *": "echo /",
  "secret inspect llamapod-keys": "",
  "exec *memory.events": "echo 0",
  "container inspect --format {{.Config.CreateCommand}} llamapod-main": "echo '[podman run --device nvidia.com/gpu=all]'",
  "port llamapod-main *": 'cat "$root/published"',
};

const healthySystemctl: Answers = {
  "--user list-units *": "echo llamapod@main.service loaded active running llamapod",
  "--user show *--property Result *": "echo success",
  "--user show *--property MemoryMax *": "echo infinity",
  "--user show *--property ActiveState *": "echo active",
  "--user show *": "echo 0",
};

/** What `serve` would find on this host, as `survey` says it. */
const survey = {
  folder: "/home/gguf",
  "folder-there": "yes",
  gpu: "auto",
  backend: "cuda",
  models: "tiny",
  "needed-ram": "2000000000",
  "needed-vram": "1000000000",
  "has-ram": "6000000000",
  "has-vram": "6000000000",
};

const node = (version: string, found: Readonly<Record<string, string>> | "crash"): string => {
  const lines = Object.entries(found).map(([name, value]) => `echo '${name} ${value}'`);
  const answer = found === "crash" ? "echo 'Error: Cannot find package' >&2; exit 1" : lines.join("; ");
  return `case "$*" in --version) echo v${version} ;; */survey.js*) ${answer} ;; *) exit 1 ;; esac`;
};

const units = "home/.config/containers/systemd";
const settings = "home/.config/llamapod/main.env";

/** Everything that doctor looks at is there, and in order. */
async function healthyHost(port: string): Promise<FakeHost> {
  const host = await FakeHost.create();
  const { username } = userInfo();
  const ids = `someone:100000:65536\n${username}:165536:65536\n`;
  const files: Readonly<Record<string, string>> = {
    "etc/subuid": ids,
    "etc/subgid": ids,
    "proc/sys/user/max_user_namespaces": "96000\n",
    "proc/sys/kernel/apparmor_restrict_unprivileged_userns": "0\n",
    "proc/meminfo": "MemTotal: 16000000 kB\nMemAvailable: 12000000 kB\n",
    "proc/driver/nvidia/version": driver("580.65.06"),
    "sys/fs/cgroup/cgroup.controllers": "cpu memory pids\n",
    "sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers": "cpu memory pids\n",
    "var/log/journal/.keep": "",
    "etc/cdi/nvidia.yaml": description(library),
    [library.slice(1)]: "",
    "usr/bin/nvidia-cdi-hook": "",
    [`${units}/llamapod@.container`]: "[Container]\nAutoUpdate=registry\n",
    [`${units}/llamapod@.container.d/20-keys.conf`]: "[Container]\nSecret=llamapod-keys,type=mount\n",
    [settings]: `LLAMAPOD_BIND=127.0.0.1:${port}\nLLAMAPOD_PRELOAD=small\n`,
    published: `127.0.0.1:${port}\n`,
  };
  for (const [path, content] of Object.entries(files)) await host.file(path, content);
  for (const device of ["nvidia0", "nvidiactl", "nvidia-uvm"]) await host.file(`dev/${device}`, "", 0o666);
  await host.file("usr/libexec/podman/quadlet", "#!/bin/bash\nexit 0\n", 0o755);
  await host.answers("podman", healthyPodman);
  await host.answers("systemctl", healthySystemctl, "exit 0");
  const commands: Readonly<Record<string, string>> = {
    ...Object.fromEntries(["newuidmap", "newgidmap", "pasta", "nft", "findmnt"].map((name) => [name, "exit 0"])),
    loginctl: "echo yes",
    df: "echo Avail; echo 50000000",
    id: `case $1 in -u) echo 1000 ;; *) echo ${username} ;; esac`,
    uname: "echo x86_64",
    "nvidia-ctk": "echo NVIDIA Container Toolkit CLI version 1.18.0",
    getenforce: "echo Enforcing",
    getsebool: "echo 'container_use_devices --> on'",
    journalctl: "echo 'Archived and active journals take up 96.0M in the file system.'",
    timedatectl: "echo yes",
    node: node("22.1.0", survey),
    "podman-compose": "echo podman-compose version 1.3.0",
  };
  for (const [name, body] of Object.entries(commands)) await host.command(name, body);
  return host;
}

interface Illness {
  readonly what: string;
  readonly fix: RegExp;
  readonly make: (host: FakeHost) => Promise<unknown>;
  /** Where it is not the usual one. */
  readonly environment?: (host: FakeHost) => Readonly<Record<string, string>>;
  /** What else is found, as one ill leads to another. */
  readonly companions?: readonly string[];
  /** What the server that runs answers, where it is not well. */
  readonly server?: Readonly<Record<string, readonly [number, unknown]>>;
}

const podman = (answers: Answers) => (host: FakeHost) => host.answers("podman", instead(healthyPodman, answers));
const systemctl = (answers: Answers) => (host: FakeHost) =>
  host.answers("systemctl", instead(healthySystemctl, answers), "exit 0");
const file = (path: string, content: string, mode?: number) => (host: FakeHost) => host.file(path, content, mode);
const command = (name: string, body: string) => (host: FakeHost) => host.command(name, body);
const without =
  (...paths: readonly string[]) =>
  (host: FakeHost) =>
    host.without(...paths);
const range = (count: number) => async (host: FakeHost) => {
  const line = `${userInfo().username}:100000:${count}\n`;
  await Promise.all([host.file("etc/subuid", line), host.file("etc/subgid", line)]);
};
const result = (value: string) => systemctl({ "--user show *--property Result *": `echo ${value}` });
const dockerCompose = (version: string) => async (host: FakeHost) => {
  await host.without("bin/podman-compose");
  await host.answers("docker", { "compose version*": `echo ${version}` });
};
const modelsDir = (host: FakeHost) => ({ LLAMAPOD_MODELS_DIR: join(host.root, "models") });

/** A survey that finds something else, or nothing of that name. */
const surveyed = (found: Readonly<Record<string, string>>, ...gone: readonly (keyof typeof survey)[]) => {
  const left = Object.entries(survey).filter(([name]) => !gone.some((other) => other === name));
  return command("node", node("22.1.0", { ...Object.fromEntries(left), ...found }));
};

/** A host with each finding, by its name in findings.txt. */
const illnesses: Readonly<Record<string, Illness>> = {
  "node.old": { what: "an old Node.js", fix: /nvm install/, make: command("node", node("20.18.3", survey)) },
  "node.broken": { what: "a llamapod that does not run", fix: /npm run setup/, make: command("node", node("22.1.0", "crash")) },
  "settings.refused": {
    what: "settings that the server does not take",
    fix: /--print-config/,
    make: command(
      "node",
      node("22.1.0", { "settings-problem": 'LLAMAPOD_PORT: must be a whole number from 0 to 65535, not "http".' }),
    ),
  },
  "settings.model": {
    what: "a model that is not here",
    fix: /llamapod show big$/,
    make: surveyed({ unusable: "big is not here: llamapod pull big" }),
  },
  "folder.denied": {
    what: "a models folder of somebody else",
    fix: /chmod u\+rx \/home\/gguf/,
    make: surveyed({ "folder-unreadable": "EACCES", "folder-unwritable": "EACCES" }),
  },
  "folder.file-denied": {
    what: "a model of somebody else",
    fix: /chmod u\+r \/home\/gguf\/a\.gguf$/,
    make: surveyed({ "file-unreadable": "EACCES /home/gguf/a.gguf" }),
  },
  "folder.read-only": {
    what: "a models folder that nothing can be put into",
    fix: /chmod u\+w \/home\/gguf/,
    make: surveyed({ "folder-unwritable": "EROFS" }),
  },
  "folder.full": {
    what: "no room for models of the host",
    fix: /llamapod rm MODEL$/,
    make: command("df", 'echo Avail; case "$*" in */home/gguf) echo 1000 ;; *) echo 50000000 ;; esac'),
  },
  "backend.serves-on-cpu": {
    what: "a server on the CPU, where a GPU is asked for",
    fix: /LLAMAPOD_GPU=required npx llamapod serve/,
    make: async (host) => {
      await surveyed({ gpu: "required" })(host);
      // Nothing is known of a container that has the GPU.
      await podman({ "container inspect --format {{.Config.CreateCommand}} llamapod-main": "exit 1" })(host);
    },
    server: { ...ready, "GET /health/live": [200, { status: "ok" }] },
  },
  "backend.no-gpu": {
    what: "no GPU that works, where one is asked for",
    fix: /LLAMAPOD_GPU=required npm run setup/,
    make: surveyed({ gpu: "required", "backend-problem": "a GPU is required and llama.cpp found none" }, "backend"),
  },
  "backend.broken": {
    what: "no llama.cpp for this machine",
    fix: /npm run setup/,
    make: surveyed({ "backend-problem": "no prebuilt binary" }, "backend"),
  },
  "backend.cpu": {
    what: "a GPU that llama.cpp leaves alone",
    fix: /LLAMAPOD_GPU=required npm run setup/,
    make: surveyed({ backend: "cpu" }),
  },
  "engine.missing": { what: "no podman", fix: /apt-get install podman/, make: without("bin/podman") },
  "engine.docker-only": {
    what: "Docker instead of podman",
    fix: /apt-get install podman/,
    make: async (host) => {
      await host.without("bin/podman");
      await host.answers("docker", { info: "" });
    },
  },
  "engine.before-tested": {
    what: "the first podman with units",
    fix: /upgrade podman/,
    make: podman({ "version --format*": "echo 5.0.3" }),
  },
  "engine.old": { what: "podman 3", fix: /upgrade podman/, make: podman({ "version --format*": "echo 3.4.4" }) },
  "engine.no-quadlet": { what: "podman 4", fix: /start\.sh/, make: podman({ "version --format*": "echo 4.9.3" }) },
  "rootless.root": {
    what: "root",
    fix: /machinectl shell/,
    make: async (host) => {
      await host.command("id", `case $1 in -u) echo 0 ;; *) echo ${userInfo().username} ;; esac`);
      await host.file("sys/fs/cgroup/user.slice/user-0.slice/user@0.service/cgroup.controllers", "cpu memory pids\n");
    },
  },
  "subids.missing": {
    what: "no ids, with a free range in the fix",
    fix: /--add-subuids 165536-231071/,
    make: async (host) => {
      await host.file("etc/subuid", "someone:100000:65536\n");
      await host.file("etc/subgid", "someone:100000:65536\n");
    },
  },
  "subids.short": { what: "few ids", fix: /--add-subuids 105000-170535/, make: range(5000) },
  "subids.not-used": {
    what: "ids that Podman does not use",
    fix: /podman system migrate/,
    make: podman({ "unshare cat /proc/self/uid_map": "echo 0 1000 1" }),
  },
  "uidmap.missing": { what: "no newuidmap", fix: /install uidmap/, make: without("bin/newuidmap") },
  "userns.none": {
    what: "no user namespaces",
    fix: /max_user_namespaces=/,
    make: file("proc/sys/user/max_user_namespaces", "0\n"),
  },
  "userns.root-only": {
    what: "user namespaces for root only",
    fix: /unprivileged_userns_clone=1/,
    make: file("proc/sys/kernel/unprivileged_userns_clone", "0\n"),
  },
  "userns.apparmor": {
    what: "user namespaces kept by AppArmor",
    fix: /apparmor_restrict_unprivileged_userns=0/,
    make: file("proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n"),
  },
  "session.missing": { what: "no session", fix: /enable-linger/, make: without("run") },
  "session.no-systemd": { what: "no systemd", fix: /enable-linger/, make: without("bin/systemctl") },
  "linger.off": { what: "no lingering", fix: /enable-linger/, make: command("loginctl", "echo no") },
  "cgroup.v1": {
    what: "cgroups of version 1",
    fix: /unified_cgroup_hierarchy/,
    make: without("sys/fs/cgroup/cgroup.controllers"),
  },
  "cgroup.not-delegated": {
    what: "no delegation, and a fix that makes the folder",
    fix: /^sudo mkdir -p .*Delegate=cpu cpuset memory pids\\n/,
    make: without("sys/fs/cgroup/user.slice"),
  },
  "runtime.keyring": {
    what: "no keyrings",
    fix: /keyring = false.* > \S*containers\.conf\.d\//,
    make: podman({ "run *--entrypoint true*": "echo 'crun: join keyctl: Operation not permitted' >&2; exit 126" }),
  },
  "runtime.cgroup": {
    what: "no controller of processes",
    fix: /pids_limit = 0.* > \S*containers\.conf\.d\//,
    make: podman({ "run *--entrypoint true*": "echo 'crun: controller `pids` is not available' >&2; exit 126" }),
  },
  "runtime.refused": {
    what: "containers that do not start",
    fix: /log-level=debug/,
    make: podman({ "run *--entrypoint true*": "echo 'runc: no luck' >&2; exit 126" }),
  },
  "storage.broken": {
    what: "a podman that does not work",
    fix: /system migrate/,
    make: podman({ info: "echo 'time=now level=warning'; echo 'Error: no luck' >&2; exit 125" }),
  },
  "storage.driver-changed": {
    what: "a changed storage driver",
    fix: /system reset/,
    make: podman({
      info: `echo 'User-selected graph driver "overlay" overwritten by graph driver "vfs" from database' >&2; exit 125`,
    }),
  },
  "storage.network": {
    what: "storage on a network, and nothing good said of it",
    fix: /graphroot = /,
    make: command("stat", 'case "$*" in --file-system*) echo nfs ;; *) exec /usr/bin/stat "$@" ;; esac'),
  },
  "storage.noexec": {
    what: "storage that nothing can be executed on",
    fix: /remount,exec \/mnt/,
    make: command("findmnt", 'case "$*" in *OPTIONS*) echo rw,noexec,nosuid ;; *) echo /mnt ;; esac'),
  },
  "storage.driver": {
    what: "a slow storage driver",
    fix: /driver = "overlay"/,
    make: podman({ "info --format {{.Store.GraphDriverName}}": "echo vfs" }),
  },
  "storage.full": { what: "a full disk", fix: /image prune/, make: command("df", "echo Avail; echo 6000000") },
  "network.none": { what: "no network helper", fix: /install passt/, make: without("bin/pasta") },
  "network.no-nft": { what: "no nft", fix: /install nftables/, make: without("bin/nft") },
  "netonline.inactive": {
    what: "no network-online.target",
    fix: /wait-online/,
    make: systemctl({ "is-active --quiet network-online.target": "exit 3" }),
  },
  "port.taken": {
    what: "a port that something else has",
    fix: /ss -ltnp/,
    make: () => Promise.resolve(),
    server: { "GET /health/ready": [200, { status: "ok", model: "tiny", backend: "cuda" }] },
  },
  "port.privileged": {
    what: "a port for root",
    fix: /ip_unprivileged_port_start=80/,
    make: file(settings, "LLAMAPOD_BIND=127.0.0.1:80\n"),
    environment: () => ({ LLAMAPOD_PORT: "80" }),
  },
  "bindaddr.loopback": {
    what: "a server that listens inside only",
    fix: /LLAMAPOD_HOST/,
    make: async (host) => host.file(settings, `${await host.read(settings)}LLAMAPOD_HOST=127.0.0.1\n`),
  },
  "bindaddr.open": {
    what: "a server for everybody",
    fix: /LLAMAPOD_BIND=127\.0\.0\.1:/,
    make: async (host) => host.file(settings, (await host.read(settings)).replace("127.0.0.1", "0.0.0.0")),
  },
  "quadlet.unsupported": {
    what: "a unit with an unknown key",
    fix: /-dryrun -user/,
    make: file(
      "usr/libexec/podman/quadlet",
      `#!/bin/bash\necho "unsupported key 'Foo' in group 'Container'" >&2\nexit 1\n`,
      0o755,
    ),
  },
  "selinux.devices": { what: "SELinux before the GPU", fix: /container_use_devices 1/, make: command("getsebool", "echo off") },
  "selinux.label": {
    what: "models with a label of the home folder",
    fix: /container_file_t/,
    make: async (host) => {
      await host.file("models/a.gguf", "");
      await host.command("stat", 'case "$*" in *%C*) echo u:object_r:user_home_t:s0 ;; *) exec /usr/bin/stat "$@" ;; esac');
    },
    environment: modelsDir,
  },
  "models.missing": { what: "no models folder", fix: /mkdir -p .*models/, make: () => Promise.resolve(), environment: modelsDir },
  "models.denied": {
    what: "models that the server may not read",
    fix: /chmod -R u\+rX/,
    make: podman({ "run *--entrypoint ls * -R /mnt": "echo 'ls: Permission denied' >&2; exit 2" }),
  },
  "models.volume-full": {
    what: "no room for models on the volume of one of the instances",
    fix: /podman exec llamapod-main node .* rm --yes MODEL/,
    make: async (host) => {
      await podman({ "volume exists llamapod-main-data": "", "volume inspect *llamapod-main-data": 'echo "$root/volume"' })(host);
      await host.command("df", 'echo Avail; case "$*" in *volume) echo 1000 ;; *) echo 50000000 ;; esac');
    },
  },
  "models.full": {
    what: "no room for models",
    fix: /llamapod rm MODEL --models-dir \/.*models$/,
    make: async (host) => {
      await host.file("models/a.gguf", "");
      await host.command("stat", 'case "$*" in *%C*) echo "?" ;; *) exec /usr/bin/stat "$@" ;; esac');
      await host.command("df", 'echo Avail; case "$*" in *models) echo 1000 ;; *) echo 50000000 ;; esac');
    },
    environment: modelsDir,
  },
  "image.missing": { what: "no image", fix: /image\.sh build/, make: podman({ "image exists *": "exit 1" }) },
  "image.no-health": {
    what: "an image of OCI's format",
    fix: /image\.sh build/,
    make: podman({ "image inspect --format {{json .HealthCheck}} *": "echo null" }),
  },
  "image.arch": { what: "an image for another machine", fix: /image\.sh build/, make: command("uname", "echo aarch64") },
  "secrets.missing": {
    what: "a secret that only the unit knows",
    fix: /podman secret create llamapod-keys/,
    make: podman({ "secret inspect *": "exit 1" }),
  },
  "memory.low": { what: "little memory", fix: /switch-model/, make: file("proc/meminfo", "MemAvailable: 900000 kB\n") },
  "memory.limit": {
    what: "a limit below the models",
    fix: /systemctl --user edit llamapod@main/,
    make: systemctl({ "--user show *--property MemoryMax *": "echo 1000000000" }),
  },
  "memory.plan": {
    what: "models that do not fit together",
    fix: /switch-model/,
    make: async (host) => host.file(settings, (await host.read(settings)).replace("PRELOAD=", "PRELOAD=big, alias,")),
  },
  "memory.own-plan": {
    what: "models that do not fit together without a container",
    fix: /llamapod list/,
    make: async (host) => {
      await surveyed({ models: "big, small", "needed-vram": "7000000000" })(host);
      await host.file("proc/sys/net/ipv4/ip_unprivileged_port_start", "0\n");
    },
    // Nobody listens there: a server that runs says of its own models.
    environment: () => ({ LLAMAPOD_PORT: "2" }),
  },
  "nv-driver.missing": {
    what: "a GPU without its driver",
    fix: /install nvidia-driver/,
    make: async (host) => {
      await host.without("proc/driver", "etc/cdi", "dev");
      await host.file("sys/bus/pci/devices/0/vendor", "0x10de\n");
      await host.file("sys/bus/pci/devices/0/class", "0x030200\n");
    },
  },
  "nv-driver.old": {
    what: "a driver from before CUDA 13",
    fix: /upgrade nvidia-driver/,
    make: async (host) => {
      await host.file("proc/driver/nvidia/version", driver("535.1.2"));
      await host.file("usr/lib/libcuda.so.535.1.2", "");
      await host.file("etc/cdi/nvidia.yaml", description("/usr/lib/libcuda.so.535.1.2"));
    },
  },
  "nv-nodes.missing": { what: "no nvidia-uvm after a boot", fix: /nvidia-modprobe/, make: without("dev/nvidia-uvm") },
  "nv-nodes.group": {
    what: "devices for a group",
    fix: /NVreg_DeviceFileMode=0666/,
    make: (host) => chmod(join(host.root, "dev/nvidia0"), 0o660),
  },
  "nv-ctk.missing": { what: "no toolkit", fix: /nvidia-container-toolkit/, make: without("bin/nvidia-ctk") },
  "nv-ctk.old": { what: "an old toolkit", fix: /upgrade/, make: command("nvidia-ctk", "echo CLI version 1.13.5") },
  "nv-ctk.no-refresh": {
    what: "a toolkit that renews nothing",
    fix: /upgrade/,
    make: command("nvidia-ctk", "echo CLI version 1.17.0"),
  },
  "cdi.missing": { what: "a GPU that containers are not told of", fix: /cdi generate/, make: without("etc/cdi") },
  "cdi.unreadable": {
    what: "a description that only root may read",
    fix: /chmod 644 \/etc\/cdi\/nvidia\.yaml/,
    make: (host) => chmod(join(host.root, "etc/cdi/nvidia.yaml"), 0o600),
  },
  "cdi.no-all": {
    what: "a description without the device all",
    fix: /cdi generate/,
    make: file("etc/cdi/nvidia.yaml", description(library).replace("name: all", 'name: "0"')),
  },
  "cdi.twice": {
    what: "two descriptions",
    fix: /rm \/etc\/cdi\/nvidia\.yaml/,
    make: file("var/run/cdi/nvidia.yaml", description(library)),
  },
  "cdi-stale.gone": {
    what: "a description with a hook that is gone",
    fix: /cdi generate --output=\/etc\/cdi\/nvidia\.yaml/,
    make: without("usr/bin/nvidia-cdi-hook"),
  },
  "cdi-stale.version": {
    what: "a description from before the driver's update",
    fix: /cdi generate/,
    make: file("proc/driver/nvidia/version", driver("590.1.1")),
  },
  "cdi-stale.device": {
    what: "a description from before the second card",
    fix: /cdi generate/,
    make: file("dev/nvidia1", "", 0o666),
  },
  "gpu-run.refused": {
    what: "a GPU that no container gets",
    fix: /--device nvidia\.com\/gpu=all/,
    make: podman({ "run *--device nvidia*": "echo 'Error: unresolvable CDI devices' >&2; exit 126" }),
  },
  "gpu-run.cpu": {
    what: "a server that fell back to the CPU",
    fix: /--gpu required/,
    make: () => Promise.resolve(),
    server: { ...ready, "GET /health/live": [200, { status: "ok" }] },
  },
  "compose.old": {
    what: "an old podman-compose",
    fix: /pipx install/,
    make: command("podman-compose", "echo podman-composer version  1.0.3"),
  },
  "compose.devices": { what: "an old docker compose", fix: /--compose/, make: dockerCompose("2.26.1") },
  "socket.off": {
    what: "docker compose without Podman's socket",
    fix: /enable --now podman\.socket/,
    make: async (host) => {
      await dockerCompose("2.40.0")(host);
      await systemctl({ "--user --quiet is-active podman.socket": "exit 3" })(host);
    },
  },
  "service.failed": { what: "a failed unit", fix: /journalctl/, make: result("exit-code") },
  "service.again": {
    what: "a unit that fails and is tried again",
    fix: /journalctl/,
    make: systemctl({
      "--user show *--property ActiveState *": "echo activating",
      "--user show *--property NRestarts *": "echo 3",
    }),
  },
  "service.start-limit": { what: "a unit that systemd gave up", fix: /reset-failed/, make: result("start-limit-hit") },
  "service.timeout": { what: "a unit that took too long", fix: /systemctl --user edit/, make: result("timeout") },
  "service.oom": { what: "a unit without memory", fix: /--instance main/, make: result("oom-kill") },
  "service.oom-runner": {
    what: "a runner without memory",
    fix: /switch-model/,
    make: podman({ "exec *memory.events": "echo 2" }),
  },
  "health.not-ready": {
    what: "a server that is not ready",
    fix: /status\.sh/,
    make: () => Promise.resolve(),
    server: { "GET /health/live": [200, { status: "ok" }], "GET /health/ready": [503, { status: "loading" }] },
  },
  "journal.volatile": { what: "a journal in memory", fix: /mkdir -p \/var\/log\/journal/, make: without("var/log/journal") },
  "journal.big": { what: "a huge journal", fix: /vacuum-size/, make: command("journalctl", "echo 'take up 4.0G in'") },
  "update.off": {
    what: "updates that nothing looks for",
    fix: /podman-auto-update\.timer/,
    make: systemctl({ "--user --quiet is-enabled podman-auto-update.timer": "exit 1" }),
  },
  "clock.wrong": { what: "a clock of its own", fix: /set-ntp/, make: command("timedatectl", "echo no") },
};

/** What the server says of a model: 6 GB are there for all together. */
const planned = (id: string, gigabytes: number, name = id) => ({
  [`GET /api/models/${name}`]: [200, { id }] as const,
  [`POST /api/models/${name}/plan`]: [200, plan(gigabytes)] as const,
});
const plan = (gigabytes: number): z.input<typeof planObject> => ({
  outcome: "beside",
  evicts: [],
  missing: null,
  needed: { ram_bytes: gigabytes * 1e9, vram_bytes: 0 },
  taken: { ram_bytes: 0, vram_bytes: 0 },
  capacity: { ram_bytes: 6e9, vram_bytes: 0 },
});

const well = {
  "GET /health/live": [200, { status: "ok" }],
  "GET /health/ready": [200, { status: "ok", model: "tiny", backend: "cuda" }],
  "GET /metrics": [200, "llamapod_model_memory_bytes 2000000000"],
  ...planned("tiny", 2),
  ...planned("small", 3),
  ...planned("small", 3, "alias"),
  ...planned("big", 4),
} as const;

async function examine(host: FakeHost, port: string, environment: Readonly<Record<string, string>> = {}) {
  const { code, stdout, stderr } = await host.run("doctor.sh", ["--json"], { LLAMAPOD_PORT: port, ...environment });
  assert.equal(stderr, "");
  const findings = stdout
    .trim()
    .split("\n")
    .map((line) => finding.parse(JSON.parse(line)));
  return { code, findings, ill: findings.filter(({ level }) => level !== "ok") };
}

async function table(): Promise<Readonly<Record<string, string>>[]> {
  const paragraphs = (await readFile("deploy/podman/doctor/findings.txt", "utf8")).split("\n\n").slice(1);
  return paragraphs.map((paragraph) => {
    const [id = "", ...fields] = paragraph.trim().split("\n");
    return { id, ...Object.fromEntries(fields.map((line) => [line.split(" ")[0] ?? "", line.replace(/^\S+ +/, "")])) };
  });
}

describe("doctor", { concurrency: 2 }, () => {
  test("a healthy host: every check says so", async () => {
    await using server = await FakeServer.answering(well);
    await using host = await healthyHost(server.port);
    const { code, findings, ill } = await examine(host, server.port);
    assert.deepEqual(ill, []);
    assert.equal(code, 0);
    const checks = [...new Set((await table()).map(({ id = "" }) => id.split(".")[0] ?? ""))];
    const said = new Set(findings.map(({ id }) => id));
    // Only docker compose needs the socket.
    assert.deepEqual(
      checks.filter((check) => !said.has(check)),
      ["socket"],
    );
    assert.ok(checks.length >= 30);
  });

  for (const [id, { what, fix, make, environment, server: routes, companions }] of Object.entries(illnesses)) {
    test(`${id}: ${what}`, async () => {
      await using server = await FakeServer.answering(routes ?? well);
      await using host = await healthyHost(server.port);
      await make(host);
      const { code, ill } = await examine(host, server.port, environment?.(host));
      const names = ill.map(({ id: check, finding: name }) => `${check}.${name}`);
      const found = ill[names.indexOf(id)];
      assert.ok(found !== undefined, names.join());
      assert.match(found.fix, fix);
      assert.doesNotMatch(found.message + found.fix + found.or, /\{[a-z]+\}/);
      assert.equal(code, ill.some(({ level }) => level === "fail") ? 3 : 1);
      assert.deepEqual(names, [id, ...(companions ?? [])]);
    });
  }
});

test("every finding is one of a host in these tests", async () => {
  const rows = await table();
  assert.deepEqual(rows.map(({ id }) => id).sort(), Object.keys(illnesses).sort());
  for (const row of rows) {
    assert.match(row["level"] ?? "", /^(?:warn|fail)$/, row["id"]);
    assert.equal(row["who"] === "administrator", /\bsudo\b/.test(row["fix"] ?? ""), `${row["id"] ?? ""}: who carries it out?`);
    assert.equal(spawnSync("bash", ["-n", "-c", row["fix"] ?? "("]).status, 0, `${row["id"] ?? ""}: the fix can be pasted`);
  }
});

test("memory.plan counts a model once, whatever it is called, and says how much is missing, of the GPU's memory too", async () => {
  await using server = await FakeServer.answering(well);
  await using host = await healthyHost(server.port);
  await host.file(settings, `LLAMAPOD_BIND=127.0.0.1:${server.port}\nLLAMAPOD_MODEL=big\nLLAMAPOD_PRELOAD=small,alias\n`);
  const { ill } = await examine(host, server.port);
  assert.match(
    ill[0]?.message ?? "",
    /^big, small shall .* take 7000 MB of main memory, .* has 6000 MB .*: 1000 MB are missing$/,
  );
  const onGpu = { ...plan(2), needed: { ram_bytes: 0, vram_bytes: 5e9 }, capacity: { ram_bytes: 6e9, vram_bytes: 4e9 } };
  await using other = await FakeServer.answering({ ...well, "POST /api/models/big/plan": [200, onGpu] });
  await host.file(settings, `LLAMAPOD_BIND=127.0.0.1:${other.port}\nLLAMAPOD_MODEL=big\n`);
  await host.file("published", `127.0.0.1:${other.port}\n`);
  assert.match((await examine(host, other.port)).ill[0]?.message ?? "", /5000 MB of the GPU's memory, .*: 1000 MB are missing$/);
});

test("without a container: what is well is said, and nothing where llamapod does not run by Node.js", async () => {
  await using server = await FakeServer.answering(well);
  await using host = await healthyHost(server.port);
  const checks = ["node", "settings", "folder", "backend"];
  const said = async () =>
    (await examine(host, server.port)).findings.filter(({ id }) => checks.includes(id)).map(({ message }) => message);
  await surveyed({ "folder-there": "no" })(host);
  assert.deepEqual(await said(), [
    "Node.js 22.1.0",
    "llamapod serve would start with them",
    "/home/gguf is made when the first model is pulled",
    `llama.cpp computes on cuda; the server on port ${server.port} does on cuda`,
  ]);
  await host.without("bin/node");
  assert.deepEqual(await said(), []);
});

test("port: that of every instance is looked at, and the one for metrics", async () => {
  await using server = await FakeServer.answering(well);
  await using other = await FakeServer.answering({});
  await using host = await healthyHost(server.port);
  const taken = async () => (await examine(host, server.port)).ill.map(({ message }) => message);
  await surveyed({ "metrics-port": other.port })(host);
  assert.match((await taken()).join(), new RegExp(`^port ${other.port} is taken`));
  await surveyed({})(host);
  assert.deepEqual(await taken(), []);
  await host.file("home/.config/llamapod/other.env", `LLAMAPOD_BIND=127.0.0.1:${other.port}\n`);
  assert.match((await taken()).at(0) ?? "", new RegExp(`^port ${other.port} is taken`));
});

test("selinux.label: a file that was moved into the folder kept its own", async () => {
  await using server = await FakeServer.answering(well);
  await using host = await healthyHost(server.port);
  await host.file("models/moved.gguf", "");
  const labels = "*%C*moved.gguf) echo u:object_r:user_home_t:s0 ;; *%C*) echo u:object_r:container_file_t:s0 ;;";
  await host.command("stat", `case "$*" in ${labels} *) exec /usr/bin/stat "$@" ;; esac`);
  const { ill } = await examine(host, server.port, modelsDir(host));
  assert.match(ill[0]?.message ?? "", /models\/moved\.gguf has a label .*user_home_t/);
  assert.equal(ill.length, 1);
});

test("clock: nothing is said where it cannot be known", async () => {
  await using server = await FakeServer.answering(well);
  await using host = await healthyHost(server.port);
  await host.command("timedatectl", "exit 1");
  const { findings } = await examine(host, server.port);
  assert.ok(!findings.some(({ id }) => id === "clock"));
});

test("image: one from a registry, of a unit, is as good as one of our own", async () => {
  await using server = await FakeServer.answering(well);
  await using host = await healthyHost(server.port);
  await host.file(`${units}/llamapod.image`, "[Image]\nImage=registry.example/llamapod:1\n");
  await podman({ "image exists *:cpu": "exit 1", "image exists registry.example/llamapod:1": "" })(host);
  const { ill, findings } = await examine(host, server.port);
  assert.deepEqual(ill, []);
  assert.equal(findings.find(({ id }) => id === "image")?.message, "registry.example/llamapod:1 is here");
});

test("cgroup: which of the limits does not work", async () => {
  await using server = await FakeServer.answering(well);
  await using host = await healthyHost(server.port);
  await host.file("sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers", "memory pids\n");
  assert.match((await examine(host, server.port)).ill[0]?.message ?? "", /may not limit cpu$/);
});

test("docker-compose by itself is a docker compose too", async () => {
  await using server = await FakeServer.answering(well);
  await using host = await healthyHost(server.port);
  await host.without("bin/podman-compose");
  await host.answers("docker-compose", { "version --short": "echo 2.26.1" });
  await systemctl({ "--user --quiet is-active podman.socket": "exit 3" })(host);
  const names = (await examine(host, server.port)).ill.map(({ id, finding: name }) => `${id}.${name}`);
  assert.deepEqual(names, ["compose.devices", "socket.off"]);
});

test("bindaddr.open: the keys of one instance are no lock on another", async () => {
  await using server = await FakeServer.answering(well);
  await using host = await healthyHost(server.port);
  await host.file("home/.config/llamapod/other.env", "LLAMAPOD_BIND=0.0.0.0:1\n");
  const keys = "[Container]\nEnvironment=LLAMAPOD_API_KEYS_FILE=/etc/llamapod/api-keys\n";
  const open = async () =>
    (await examine(host, server.port)).ill.filter(({ finding: name }) => name === "open").map(({ message }) => message);
  await host.file(`${units}/llamapod@main.container.d/20-keys.conf`, keys);
  assert.match((await open())[0] ?? "", /other\.env publishes/);
  await host.file(`${units}/llamapod@other.container.d/20-keys.conf`, keys);
  assert.deepEqual(await open(), []);
});

test("the document is what scripts/troubleshooting.sh makes of them", async () => {
  const { stdout } = spawnSync("scripts/troubleshooting.sh", ["--print"], { encoding: "utf8" });
  assert.equal(await readFile("docs/podman/troubleshooting.md", "utf8"), stdout);
});

test("llamapod doctor says the same", async () => {
  await using server = await FakeServer.answering(well);
  await using host = await healthyHost(server.port);
  await host.command("loginctl", "echo no");
  const environment = { PATH: host.bin, HOME: host.home, XDG_RUNTIME_DIR: join(host.root, "run"), LLAMAPOD_TEST_ROOT: host.root };
  const asked = { LLAMAPOD_PORT: server.port };
  const [script, command] = await Promise.all([
    host.run("doctor.sh", ["--json"], asked),
    runCommand(["doctor", "--json"], { ...environment, ...asked }),
  ]);
  assert.equal(command.stdout, script.stdout);
  assert.deepEqual([command.code, script.code], [1, 1]);
  await runCommand(["doctor", "--config", "/etc/llamapod.yaml"], { ...environment, ...asked });
  assert.match(await host.calls("node"), /survey\.js \/etc\/llamapod\.yaml$/m);
});

test("setup-host.sh prints the administrator's part, as a script, and ends with 0 whatever it finds", async () => {
  await using server = await FakeServer.answering(well);
  await using host = await healthyHost(server.port);
  await host.without("bin/newuidmap", "bin/podman");
  await host.command("podman-compose", "echo podman-composer version  1.0.3");
  const { code, stdout } = await host.run("setup-host.sh");
  assert.equal(code, 0);
  assert.match(stdout, /^# newuidmap or newgidmap is missing\n# or: .*\nsudo apt-get install uidmap$/m);
  assert.doesNotMatch(stdout, /pipx|^ok/m);
  assert.equal(spawnSync("bash", ["-n"], { input: stdout }).status, 0);
});
