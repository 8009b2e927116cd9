import { createServer, type RequestListener } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";

/** What the scripts ask, where no model is needed to answer. */
export class FakeServer implements AsyncDisposable {
  readonly port: string;
  readonly #close: () => void;

  private constructor(port: number, close: () => void) {
    this.port = String(port);
    this.#close = close;
  }

  static async listen(listener: RequestListener): Promise<FakeServer> {
    const server = createServer(listener).listen(0, "127.0.0.1");
    await once(server, "listening");
    return new FakeServer((server.address() as AddressInfo).port, () => {
      server.close();
      server.closeAllConnections();
    });
  }

  /** @param routes by `METHOD /path`: status and body. Others do not exist */
  static answering(routes: Readonly<Record<string, readonly [number, unknown]>>): Promise<FakeServer> {
    return FakeServer.listen((request, response) => {
      const [status, body] = routes[`${request.method ?? ""} ${request.url ?? ""}`] ?? [404, { title: "there is no such thing" }];
      response.writeHead(status).end(typeof body === "string" ? body : JSON.stringify(body));
    });
  }

  /** Takes connections, and says nothing. */
  static hanging(): Promise<FakeServer> {
    return FakeServer.listen(() => undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    return Promise.resolve();
  }
}

export const ready = { "GET /health/ready": [200, { status: "ok", model: "tiny", backend: "cpu" }] } as const;
