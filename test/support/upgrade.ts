import { request, type IncomingMessage } from "node:http";

export interface Refusal {
  readonly status: number | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: { readonly error: { readonly code: string; readonly message: string } };
}

/** Asks for an upgrade and tells how it was answered. */
export async function upgrade(
  url: string,
  path: string,
  headers: Readonly<Record<string, string | undefined>>,
): Promise<Refusal> {
  const asked = request(new URL(path, url), {
    headers: {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": `${"A".repeat(22)}==`,
      ...Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined)),
    },
  }).end();
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    asked.on("error", reject);
    asked.on("response", resolve);
    asked.on("upgrade", (granted, socket) => {
      socket.destroy();
      resolve(granted);
    });
  });
  const text = response.statusCode === 101 ? "{}" : (await response.toArray()).join("");
  return { status: response.statusCode, headers: response.headers, body: JSON.parse(text) as Refusal["body"] };
}
