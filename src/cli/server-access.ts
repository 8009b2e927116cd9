import type { Command } from "commander";
import { z } from "zod";
import { CommandError } from "./exit-codes.ts";
import { commonOptions, configOf } from "./settings.ts";

/** A running server, as commands reach it. */
export interface ServerAccess {
  /** Ends in a slash. */
  readonly url: URL;
  readonly apiKey: string | undefined;
}

const keyOption = z.object({ apiKey: z.string().optional() });

const failure = z.object({
  error: z.object({ code: z.string(), message: z.string() }).optional(),
  detail: z.string().optional(),
});

export function serverAccess(command: Command): ServerAccess {
  const options = commonOptions(command);
  const { apiKey } = keyOption.parse(command.opts());
  const given = options.url ?? defaultUrl(configOf(options));
  if (!URL.canParse(given))
    throw new CommandError("usage", `${given} is not the address of a server, such as http://localhost:8080.`);
  const url = new URL(given);
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return { url, apiKey };
}

export function authorization({ apiKey }: ServerAccess): Readonly<Record<string, string>> {
  return apiKey === undefined ? {} : { Authorization: `Bearer ${apiKey}` };
}

function defaultUrl({ host, port }: { readonly host: string; readonly port: number }): string {
  const reachable = host === "0.0.0.0" || host === "::" ? "localhost" : host;
  return `http://${reachable.includes(":") ? `[${reachable}]` : reachable}:${port}/`;
}

/** @throws {CommandError} `unreachable`, or with the server's own reason */
export function getJson<Schema extends z.ZodType>(access: ServerAccess, path: string, schema: Schema): Promise<z.output<Schema>> {
  return askForJson(access, path, {}, schema);
}

/** @throws {CommandError} as `getJson` does */
export function postJson<Schema extends z.ZodType>(
  access: ServerAccess,
  path: string,
  body: unknown,
  schema: Schema,
): Promise<z.output<Schema>> {
  const request = { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return askForJson(access, path, request, schema);
}

/** @throws {CommandError} as `getJson` does */
export function deleteJson<Schema extends z.ZodType>(
  access: ServerAccess,
  path: string,
  schema: Schema,
): Promise<z.output<Schema>> {
  return askForJson(access, path, { method: "DELETE" }, schema);
}

async function askForJson<Schema extends z.ZodType>(
  access: ServerAccess,
  path: string,
  request: { readonly method?: string; readonly body?: string; readonly headers?: Readonly<Record<string, string>> },
  schema: Schema,
): Promise<z.output<Schema>> {
  const { url } = access;
  let response: Response;
  try {
    response = await fetch(new URL(path, url), { ...request, headers: { ...request.headers, ...authorization(access) } });
  } catch (cause) {
    throw unreachable(url, cause);
  }
  const body: unknown = await response.json().catch(() => undefined);
  const parsed = response.ok ? schema.safeParse(body).data : undefined;
  if (parsed !== undefined) return parsed;
  const { error, detail } = failure.safeParse(body).data ?? {};
  const message = error?.message ?? detail ?? `${url.href} answers with status ${response.status}, unlike a llamapod server.`;
  throw new CommandError(
    response.status === 401 || response.status === 403 ? "denied" : response.status === 404 ? "notFound" : "failed",
    message,
  );
}

export function unreachable(url: URL, cause?: unknown): CommandError {
  const message = `There is no server at ${url.href}. Start one with: llamapod serve; or say where it is with --url or LLAMAPOD_URL.`;
  return new CommandError("unreachable", message, cause);
}
