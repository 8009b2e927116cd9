import { spawnSync } from "node:child_process";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

export interface Certificate {
  readonly key: string;
  readonly cert: string;
  /** Of `cert`, for `NODE_EXTRA_CA_CERTS`. */
  readonly path: string;
}

/** One that nobody else has signed, for an address of this machine. */
export async function selfSigned(address: string): Promise<Certificate> {
  const folder = await mkdtemp(join(tmpdir(), "llamapod-certificate-"));
  const [keyPath, path] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", keyPath];
  const name = ["-subj", "/CN=test", "-addext", `subjectAltName=IP:${address}`];
  const made = spawnSync("openssl", ["req", "-x509", "-days", "2", ...key, ...name, "-out", path], { encoding: "utf8" });
  if (made.status !== 0) throw new Error(made.stderr);
  return { key: await readFile(keyPath, "utf8"), cert: await readFile(path, "utf8"), path };
}
