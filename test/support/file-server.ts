import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";

/** How a file is served, the good way and the bad ones. */
export interface Served {
  readonly content: Buffer;
  readonly etag?: string;
  /** `none`: the whole file, whatever is asked for. */
  readonly ranges?: "yes" | "none";
  /** The connection is reset after so many bytes of an answer. */
  readonly resetAfter?: number;
  /** Each chunk of 16 KiB waits for so long. */
  readonly chunkDelayMs?: number;
  /** What it says of its size, instead of the truth. */
  readonly claimedSize?: number;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface SeenRequest {
  readonly path: string;
  readonly authorization: string | undefined;
  readonly range: string | undefined;
}

const chunkBytes = 16 * 1024;

/** Where to listen, and with what certificate where it is HTTPS. */
export interface Listening {
  readonly host: string;
  readonly port: number;
  readonly tls?: { readonly key: string; readonly cert: string };
}

/** A real HTTP server on this machine. */
export class FileServer implements AsyncDisposable {
  readonly files = new Map<string, Served>();
  readonly requests: SeenRequest[] = [];
  bytesSent = 0;
  readonly #server: Server;

  private constructor(tls: Listening["tls"]) {
    const answer = (request: IncomingMessage, response: ServerResponse) => {
      this.#answer(request, response).catch(() => response.destroy());
    };
    this.#server = tls === undefined ? createServer(answer) : createSecureServer(tls, answer);
  }

  static async start({ host, port, tls }: Listening = { host: "127.0.0.1", port: 0 }): Promise<FileServer> {
    const server = new FileServer(tls);
    server.#server.listen(port, host);
    await once(server.#server, "listening");
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "";
    const { authorization, range } = request.headers;
    this.requests.push({ path, authorization, range });
    const served = this.files.get(path);
    if (served === undefined || (served.status ?? 200) !== 200) {
      response.writeHead(served?.status ?? 404, { ...served?.headers }).end();
      return;
    }
    const { content, etag = '"1"', ranges = "yes", claimedSize = content.length } = served;
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(ranges === "yes" ? (range ?? "") : "") ?? [];
    const start = Number(from ?? 0);
    const end = Math.min(Number(to ?? claimedSize - 1) + 1, claimedSize);
    const isPart = from !== undefined;
    response.writeHead(isPart ? 206 : 200, {
      ETag: etag,
      "Content-Length": String(end - start),
      ...(isPart && { "Content-Range": `bytes ${start}-${end - 1}/${claimedSize}` }),
      ...served.headers,
    });
    await this.#send(response, served, content.subarray(start, end));
    // A client that waits for the rest waits for nothing.
    if (claimedSize > content.length) response.destroy();
  }

  async #send(response: ServerResponse, { resetAfter = Infinity, chunkDelayMs }: Served, body: Buffer): Promise<void> {
    for (let offset = 0; offset < body.length && !response.destroyed; offset += chunkBytes) {
      if (offset >= resetAfter) {
        response.destroy();
        return;
      }
      const chunk = body.subarray(offset, Math.min(offset + chunkBytes, resetAfter));
      this.bytesSent += chunk.length;
      await new Promise<void>((resolve) => response.write(chunk, () => resolve()));
      if (chunkDelayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, chunkDelayMs));
    }
    response.end();
  }
}
