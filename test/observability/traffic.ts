import { once } from "node:events";
import { WebSocket } from "ws";
import { greedy, StreamClient } from "../support/stream-client.ts";

/**
 * A little of everything that clients and operators do: answers over all transports, errors, a cancellation, a resumed stream, a
 * full queue, a model that is loaded for a request, a switch, a handshake that is refused.
 */
export async function makeTraffic(url: string, round: number): Promise<void> {
  using client = await StreamClient.connect(url);
  await client.generate(greedy(`whole-${round}`, 12));
  client.send({ type: "generate", ...greedy(`again-${round}`, 12) });
  await client.take("done", `again-${round}`);
  client.send({ type: "resume", id: `again-${round}`, after: 0 });
  await client.take("done", `again-${round}`);
  client.send({ type: "resume", id: "never-was", after: 0 });
  await client.take("error", "never-was");
  client.send({ type: "generate", ...greedy(`stopped-${round}`, 1_000) });
  await client.take("delta", `stopped-${round}`);
  client.send({ type: "cancel", id: `stopped-${round}` });
  await client.take("done", `stopped-${round}`);
  await crowd(client, round);
  for (const stream of [true, false]) await post(`${url}/v1/completions`, { prompt: "Twice", max_tokens: 5, stream });
  await post(`${url}/v1/completions`, { prompt: "1 ".repeat(3_000) });
  await post(`${url}/api/models/gpt2/unload`, {});
  await post(`${url}/v1/completions`, { model: "gpt2", prompt: "Thrice", max_tokens: 5 });
  await post(`${url}/api/models/llama/switch`, {});
  const refused = new WebSocket(`${url.replace("http", "ws")}/v1/stream`, "llamapod.v0");
  await once(refused, "error");
}

/** More at once than the queue holds. */
async function crowd(client: StreamClient, round: number): Promise<void> {
  const ids = Array.from({ length: 10 }, (_, index) => `crowd-${round}-${index}`);
  for (const id of ids) client.send({ type: "generate", ...greedy(id, 20) });
  const left = new Set(ids);
  while (left.size > 0) {
    const message = await client.takeWhere(({ type }) => type === "done" || type === "error");
    if ("id" in message && message.id !== undefined) left.delete(message.id);
  }
}

async function post(url: string, body: object): Promise<void> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  await response.text();
}
