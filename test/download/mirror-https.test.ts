import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { tinyModel } from "../fixtures/tiny-models.ts";
import { hasOpenssl, selfSigned, type Certificate } from "../support/certificate.ts";
import { FileServer } from "../support/file-server.ts";
import { runCommand } from "../support/processes.ts";

/** An address of this machine that nothing else listens on. The ports cannot be others: they are what the test is about. */
const host = `127.80.${(process.pid >> 8) % 256}.${process.pid % 256}`;

const certificate = hasOpenssl ? await selfSigned(host) : undefined;
const servers = certificate === undefined ? undefined : await mirror(certificate).catch(() => undefined);
const skip = servers === undefined ? "THERE IS NO openssl HERE, OR NO RIGHT TO THE PORTS 80 AND 443" : false;

async function mirror(tls: Certificate): Promise<readonly [FileServer, FileServer]> {
  const plain = await FileServer.start({ host, port: 80 });
  try {
    return [plain, await FileServer.start({ host, port: 443, tls })];
  } catch (thrown) {
    await plain[Symbol.asyncDispose]();
    throw thrown;
  }
}

test("a mirror that sends from its plain HTTP to its HTTPS is followed with the token, and never back", { skip }, async () => {
  assert.ok(servers !== undefined && certificate !== undefined);
  await using plain = servers[0];
  await using secure = servers[1];
  const content = await readFile(await tinyModel("gpt2"));
  const folder = await mkdtemp(join(tmpdir(), "llamapod-mirror-"));
  const pull = (name: string, scheme: string) =>
    runCommand(["pull", "--quiet", "--models-dir", folder, `hf://me/mine/${name}.gguf`], {
      HF_ENDPOINT: `${scheme}://${host}`,
      HF_TOKEN: "hf_secret",
      NODE_EXTRA_CA_CERTS: certificate.path,
    });
  const path = (name: string) => `/me/mine/resolve/main/${name}.gguf`;
  plain.files.set(path("up"), { content, status: 301, headers: { Location: `https://${host}${path("up")}` } });
  secure.files.set(path("up"), { content });
  const { code, stderr } = await pull("up", "http");
  assert.equal(code, 0, stderr);
  assert.ok((await readFile(join(folder, "up.gguf"))).equals(content));
  assert.ok(secure.requests.every(({ authorization }) => authorization === "Bearer hf_secret"));

  plain.requests.length = 0;
  secure.files.set(path("down"), { content, status: 301, headers: { Location: `http://${host}${path("down")}` } });
  const down = await pull("down", "https");
  assert.equal(down.code, 5, down.stderr);
  assert.match(down.stderr, /only https is followed/);
  assert.deepEqual(plain.requests, []);
  await rm(folder, { recursive: true });
});
