import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./processes.ts";

const program = "docker-registry";

export const hasRegistry = spawnSync(program, ["--version"]).status === 0;

export interface Layer {
  readonly mediaType: string;
  readonly content: Buffer;
  readonly title?: string;
}

/** A real OCI registry on this machine: Debian's package `docker-registry`. */
export class Registry implements AsyncDisposable {
  readonly host: string;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(host: string, child: ChildProcess, folder: string) {
    this.host = host;
    this.#child = child;
    this.#folder = folder;
  }

  static async start(): Promise<Registry> {
    const folder = await mkdtemp(join(tmpdir(), "llamapod-registry-"));
    const host = `127.0.0.1:${await freePort()}`;
    await writeFile(
      join(folder, "config.yml"),
      `version: 0.1\nstorage: {filesystem: {rootdirectory: ${folder}/data}}\nhttp: {addr: "${host}"}\nlog: {level: error}\n`,
    );
    const child = spawn(program, ["serve", join(folder, "config.yml")], { stdio: "ignore" });
    await until(() =>
      fetch(`http://${host}/v2/`).then(
        ({ ok }) => ok,
        () => false,
      ),
    );
    return new Registry(host, child, folder);
  }

  /** @returns the manifest's digest */
  async push(name: string, tag: string, layers: readonly Layer[]): Promise<string> {
    const config = await this.#pushBlob(name, Buffer.from("{}"));
    const pushed = [];
    for (const { mediaType, content, title } of layers) {
      const annotations = title === undefined ? {} : { annotations: { "org.opencontainers.image.title": title } };
      pushed.push({ mediaType, ...(await this.#pushBlob(name, content)), ...annotations });
    }
    const mediaType = "application/vnd.oci.image.manifest.v1+json";
    const manifest = {
      schemaVersion: 2,
      mediaType,
      config: { mediaType: "application/vnd.oci.empty.v1+json", ...config },
      layers: pushed,
    };
    return this.pushManifest(name, tag, mediaType, manifest);
  }

  async pushManifest(name: string, tag: string, mediaType: string, manifest: object): Promise<string> {
    const response = await fetch(`http://${this.host}/v2/${name}/manifests/${tag}`, {
      method: "PUT",
      headers: { "Content-Type": mediaType },
      body: JSON.stringify(manifest),
    });
    if (!response.ok) throw new Error(await response.text());
    return response.headers.get("docker-content-digest") ?? "";
  }

  async #pushBlob(name: string, content: Buffer): Promise<{ digest: string; size: number }> {
    const digest = `sha256:${createHash("sha256").update(content).digest("hex")}`;
    const begun = await fetch(`http://${this.host}/v2/${name}/blobs/uploads/`, { method: "POST" });
    const upload = new URL(begun.headers.get("location") ?? "", `http://${this.host}`);
    upload.searchParams.set("digest", digest);
    const body = Uint8Array.from(content);
    const response = await fetch(upload, { method: "PUT", headers: { "Content-Type": "application/octet-stream" }, body });
    if (!response.ok) throw new Error(await response.text());
    return { digest, size: content.length };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill();
    await once(this.#child, "exit");
    await rm(this.#folder, { recursive: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
