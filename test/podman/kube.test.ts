import assert from "node:assert/strict";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parseAllDocuments, stringify } from "yaml";
import { z } from "zod";
import { until } from "../support/processes.ts";
import { asUser, podman, skip } from "./podman.ts";

const variable = z.looseObject({ name: z.string(), value: z.string().optional() });
const container = z.looseObject({
  ports: z.array(z.looseObject({ containerPort: z.number(), hostPort: z.number().optional(), hostIP: z.string().optional() })),
  env: z.array(variable),
  securityContext: z.unknown(),
  startupProbe: z.unknown(),
  readinessProbe: z.unknown(),
  livenessProbe: z.unknown(),
  resources: z.unknown().optional(),
});
const podSpec = z.looseObject({
  securityContext: z.unknown(),
  containers: z.tuple([container]),
  volumes: z.array(z.looseObject({ name: z.string() })),
});
const service = z.looseObject({ kind: z.literal("Service"), metadata: z.object({ name: z.string() }).loose() });
const deployment = z.looseObject({
  kind: z.literal("Deployment"),
  spec: z.looseObject({ template: z.looseObject({ spec: podSpec }) }),
});
const pod = z.looseObject({ kind: z.literal("Pod"), spec: podSpec });

const restrictedPod = z.looseObject({
  runAsNonRoot: z.literal(true),
  seccompProfile: z.object({ type: z.literal("RuntimeDefault") }),
});
const restrictedContainer = z.looseObject({
  allowPrivilegeEscalation: z.literal(false),
  capabilities: z.object({ drop: z.tuple([z.literal("ALL")]) }),
});

const objectsOf = async (file: string): Promise<readonly unknown[]> =>
  parseAllDocuments(await readFile(`deploy/podman/kube/${file}`, "utf8")).map((document) => document.toJS() as unknown);

async function find<Kind>(file: string, schema: z.ZodType<Kind>): Promise<Kind> {
  for (const object of await objectsOf(file)) {
    const { success, data } = schema.safeParse(object);
    if (success) return data;
  }
  throw new Error(`${file} holds no such object`);
}

describe("the file for Kubernetes", () => {
  test("asks for nothing that the restricted pod security standard forbids", async () => {
    const { spec } = (await find("kubernetes.yaml", deployment)).spec.template;
    const [server] = spec.containers;
    restrictedPod.parse(spec.securityContext);
    restrictedContainer.parse(server.securityContext);
    for (const port of server.ports) assert.equal(port.hostPort, undefined);
    assert.doesNotMatch(JSON.stringify(spec.volumes), /hostPath/);
  });

  test("runs the same server, with the same rights and probes, as the one for Podman", async () => {
    const [ofKubernetes] = (await find("kubernetes.yaml", deployment)).spec.template.spec.containers;
    const [ofPodman] = (await find("llamapod.yaml", pod)).spec.containers;
    for (const field of ["image", "securityContext", "startupProbe", "readinessProbe", "livenessProbe"] as const) {
      assert.deepEqual(ofKubernetes[field], ofPodman[field], field);
    }
  });
});

const key = "lp_YZrL1VFf_NRzGc1wtrg27zXbjUsCtdsbhIbS-z2y_5k";
const keyLine = "alice d11c1a0d2845b664504beb31b009103b91c504c488c2f37c6e9985c9c815603f chat\n";
const port = 18_093;

const volumeName = "llamapod-test-kube-data";

/** Carries out what is a kubelet's to do and Podman 4.3 cannot: fields of the pod, the secret's text, limits without cgroups. */
async function asKubelet(keys: string): Promise<string> {
  const { spec, ...rest } = await find("kubernetes.yaml", deployment);
  const [server] = spec.template.spec.containers;
  const fields: Readonly<Record<string, string>> = { NAMESPACE: "chat", POD_IP: "10.1.2.3" };
  server.env = server.env.map(({ name, value = fields[name] ?? "" }) => ({
    name,
    value: value.replaceAll(/\$\((\w+)\)/g, (_, field: string) => fields[field] ?? ""),
  }));
  delete server.resources;
  server.ports = [{ containerPort: 8_080, hostPort: port, hostIP: "127.0.0.1" }];
  spec.template.spec.volumes = spec.template.spec.volumes.map((volume) =>
    volume.name === "keys" ? { name: "keys", hostPath: { path: keys } } : volume,
  );
  return stringify({ ...rest, spec }).replaceAll("llamapod-data", volumeName);
}

async function statusOf(host: string, token?: string): Promise<number | undefined> {
  const authorization = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const call = request({
    host: "127.0.0.1",
    port,
    path: "/v1/models",
    agent: false,
    headers: { Host: host, ...authorization },
  }).end();
  const [response] = (await once(call, "response")) as [IncomingMessage];
  response.resume();
  return response.statusCode;
}

describe("a pod as Kubernetes makes it", { skip }, () => {
  let folder: string;
  let file: string;

  const down = async () => {
    await asUser(["podman", "kube", "down", file]);
    await podman("volume", "rm", "--force", volumeName);
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "llamapod-kube-"));
    file = join(folder, "kubernetes.yaml");
    await mkdir(join(folder, "keys"));
    await writeFile(join(folder, "keys", "api-keys"), keyLine, { mode: 0o644 });
    await writeFile(file, await asKubelet(join(folder, "keys")), { mode: 0o644 });
    await chmod(folder, 0o755);
    await down();
  });
  after(async () => {
    await down();
    await rm(folder, { recursive: true });
  });

  test("answers under the names of its Service, to who has a key, and under no other name", async () => {
    await podman("kube", "play", file);
    await until(async () => (await fetch(`http://127.0.0.1:${port}/health/ready`).catch(() => undefined))?.ok === true);
    const { name } = (await find("kubernetes.yaml", service)).metadata;
    for (const host of [name, `${name}.chat`, `${name}.chat.svc`, `${name}.chat.svc.cluster.local:8080`, "10.1.2.3:8080"]) {
      assert.equal(await statusOf(host, key), 200, host);
      assert.equal(await statusOf(host), 401, host);
    }
    assert.equal(await statusOf("rebound.example", key), 421);
  });
});
