import { request } from "node:http";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";

/** Asks a model for one token. @returns the time until the answer was there, in milliseconds */
export async function ask(port: number, model: string): Promise<number> {
  const startedAt = performance.now();
  const call = request({
    port,
    host: "127.0.0.1",
    path: "/v1/chat/completions",
    method: "POST",
    // A connection of its own: neither server is asked on one that the other end is about to close.
    agent: false,
    headers: { "Content-Type": "application/json" },
  });
  call.end(JSON.stringify({ model, messages: [{ role: "user", content: "Hello" }], max_tokens: 1, temperature: 0 }));
  const [response] = (await once(call, "response")) as [IncomingMessage];
  response.resume();
  await once(response, "end");
  if (response.statusCode !== 200) throw new Error(`${model} was answered with ${response.statusCode ?? "nothing"}.`);
  return performance.now() - startedAt;
}
