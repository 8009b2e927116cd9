import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { assertPublicHost } from "./address.ts";
import { DownloadError, TransientError } from "./errors.ts";
import { ask, textOf, type Target } from "./http.ts";

const tokenAnswer = z.object({
  token: z.string().optional(),
  access_token: z.string().optional(),
  expires_in: z.number().optional(),
});

const loginFile = z.object({ auths: z.record(z.string(), z.object({ auth: z.string().optional() })).optional() });

/** As the distribution specification has it where a token does not say. */
const defaultLifeSeconds = 60;

/** Docker's own registry answers at another address than it is called by, and its login is kept under a third one. */
const dockerHub = "docker.io";
const dockerHubServer = "registry-1.docker.io";
const dockerHubLogin = "https://index.docker.io/v1/";

/** A token is renewed when it has less than this left. */
const marginMs = 10_000;

/** The right to read one repository of a registry: anonymous, by password, or by a token that is renewed. */
export class RegistryAccess {
  readonly #base: URL;
  readonly #registry: string;
  readonly #repository: string;
  #scheme: "unknown" | "none" | "basic" | { readonly realm: URL } = "unknown";
  #token: { readonly value: string; readonly until: number } | undefined;

  constructor(registry: string, repository: string) {
    const isLocal = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?$/.test(registry);
    const base = `${isLocal ? "http" : "https"}://${registry === dockerHub ? dockerHubServer : registry}/v2/`;
    if (!URL.canParse(base)) throw new DownloadError("bad_target", `${registry} is not the address of a registry.`);
    this.#base = new URL(base);
    this.#registry = registry;
    this.#repository = repository;
  }

  /** @param path below the repository, such as `manifests/latest` */
  async target(path: string, signal: AbortSignal): Promise<Target> {
    const url = new URL(`${this.#repository}/${path}`, this.#base);
    if (this.#scheme === "unknown") await this.#learnScheme(signal);
    return { url, authorization: await this.#authorization(signal) };
  }

  async #learnScheme(signal: AbortSignal): Promise<void> {
    const answer = await ask("GET", { url: this.#base, authorization: undefined }, signal);
    answer.body.resume();
    if (answer.status !== 401) {
      this.#scheme = "none";
      return;
    }
    const challenge = answer.headers["www-authenticate"] ?? "";
    const field = (name: string) => new RegExp(`${name}="([^"]*)"`, "i").exec(challenge)?.[1];
    if (/^basic/i.test(challenge)) {
      this.#scheme = "basic";
      return;
    }
    const realm = field("realm");
    if (!/^bearer/i.test(challenge) || realm === undefined || !URL.canParse(realm)) {
      throw new DownloadError(
        "denied",
        `The registry ${this.#registry} asks for an authentication that is not known here: ${challenge}`,
      );
    }
    const url = new URL(realm);
    const sameHost = url.hostname === this.#base.hostname;
    if (!sameHost && url.protocol !== "https:") {
      throw new DownloadError("denied", `The registry ${this.#registry} sends logins to ${url.origin}, which is not https.`);
    }
    if (!sameHost) assertPublicHost(url.hostname);
    const service = field("service");
    if (service !== undefined) url.searchParams.set("service", service);
    url.searchParams.set("scope", `repository:${this.#repository}:pull`);
    this.#scheme = { realm: url };
  }

  async #authorization(signal: AbortSignal): Promise<string | undefined> {
    if (this.#scheme === "none" || this.#scheme === "unknown") return undefined;
    if (this.#scheme === "basic") return keptLogin(this.#registry, this.#repository);
    if (this.#token === undefined || this.#token.until < Date.now() + marginMs) {
      this.#token = await this.#fetchToken(this.#scheme.realm, signal);
    }
    return `Bearer ${this.#token.value}`;
  }

  async #fetchToken(realm: URL, signal: AbortSignal): Promise<{ value: string; until: number }> {
    const answer = await ask("GET", { url: realm, authorization: await keptLogin(this.#registry, this.#repository) }, signal);
    const body = await textOf(answer);
    if (answer.status >= 500 || answer.status === 429)
      throw new TransientError(`${realm.host} answers with status ${answer.status}`);
    const parsed = answer.status === 200 ? tokenIn(body) : undefined;
    const value = parsed?.token ?? parsed?.access_token;
    if (value === undefined) {
      throw new DownloadError(
        "denied",
        `The registry ${this.#registry} gives no token for ${this.#repository} (status ${answer.status}). Log in with: podman login ${this.#registry}`,
      );
    }
    return { value, until: Date.now() + (parsed?.expires_in ?? defaultLifeSeconds) * 1_000 };
  }
}

function tokenIn(body: string): z.output<typeof tokenAnswer> | undefined {
  try {
    return tokenAnswer.parse(JSON.parse(body));
  } catch {
    // A page of a proxy, say: as good as no token.
    return undefined;
  }
}

/** What `podman login` or `docker login` keeps for a registry. */
async function keptLogin(registry: string, repository: string): Promise<string | undefined> {
  const runtime = process.env["XDG_RUNTIME_DIR"];
  const files = [
    process.env["REGISTRY_AUTH_FILE"],
    runtime === undefined ? undefined : join(runtime, "containers", "auth.json"),
    join(homedir(), ".config", "containers", "auth.json"),
    join(homedir(), ".docker", "config.json"),
  ];
  for (const path of files) {
    if (path === undefined) continue;
    const text = await readFile(path, "utf8").catch(() => undefined);
    const login = text === undefined ? undefined : loginIn(text, registry, repository);
    if (login !== undefined) return `Basic ${login}`;
  }
  return undefined;
}

/** The login of the innermost name counts, as with Podman: `registry/namespace/name`, then `registry/namespace`, then `registry`. */
function loginIn(text: string, registry: string, repository: string): string | undefined {
  const segments = [registry, ...repository.split("/")];
  const names = segments.map((_, index) => segments.slice(0, segments.length - index).join("/"));
  if (registry === dockerHub) names.push(dockerHubLogin);
  try {
    const auths = loginFile.parse(JSON.parse(text)).auths ?? {};
    return names.map((name) => auths[name]?.auth).find((auth) => auth !== undefined);
  } catch {
    // A file of another program that cannot be read is as good as none.
    return undefined;
  }
}
