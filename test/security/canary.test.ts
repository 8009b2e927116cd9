import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { pino } from "pino";
import request from "supertest";
import { greedy, StreamClient } from "../support/stream-client.ts";
import { keysFile, startService } from "../support/service.ts";

test("no prompt, answer or key reaches a log, a metric or an error", { timeout: 60_000 }, async () => {
  const lines: string[] = [];
  const log = pino({ level: "trace" }, { write: (line: string) => lines.push(line) });
  const keys = await keysFile({ alice: "chat,admin" });
  const key = keys.secrets["alice"] ?? "";
  const canary = `canary${randomBytes(12).toString("hex")}`;
  await using service = await startService(["llama"], { apiKeysFile: keys.file, logLevel: "trace" }, log);
  const headers = { Authorization: `Bearer ${key}` };
  const errors: string[] = [];
  const post = async (path: string, body: object | string) => {
    const response = await request(service.url).post(path).set(headers).type("json").send(body);
    if (response.status !== 200) errors.push(response.text);
    return response;
  };

  const chat = { messages: [{ role: "user", content: canary }], max_tokens: 12, temperature: 0 };
  const whole = await post("/v1/chat/completions", chat);
  const answer = (whole.body as { choices: { message: { content: string } }[] }).choices[0]?.message.content ?? "";
  assert.ok(answer.length > 4);
  await post("/v1/chat/completions", { ...chat, stream: true });
  await post("/v1/completions", { prompt: canary, max_tokens: 2 });
  await post("/v1/responses", { input: canary, max_output_tokens: 2 });

  // What is wrong with each lies beside the prompt, or in it.
  await post("/v1/chat/completions", { ...chat, temperature: 99 });
  await post("/v1/chat/completions", { messages: [{ role: canary, content: canary }] });
  await post("/v1/chat/completions", { messages: canary });
  await post("/v1/chat/completions", `{"messages": [{"role": "user", "content": "${canary}" x}]}`);
  await post("/v1/chat/completions", `{"messages": ${canary}}`);
  await post("/v1/completions", { prompt: `${canary} `.repeat(2_000) });
  await post("/v1/responses", { input: [{ role: "user", content: [{ type: canary, text: canary }] }] });

  using client = await StreamClient.connect(service.url, { headers });
  await client.generate(greedy("canary", 12, canary));
  client.socket.send(`{"type": "generate", "prompt": "${canary}`);
  client.socket.send(JSON.stringify({ type: "generate", id: "x", prompt: canary, top_p: 7 }));
  client.socket.send(JSON.stringify({ type: "generate", id: "y", prompt: `${canary} `.repeat(2_000) }));
  for (let count = 0; count < 3; count++) errors.push(JSON.stringify(await client.take("error")));
  const wrongKey = await request(service.url).get("/v1/models").set("Authorization", `Bearer ${canary}`);
  errors.push(wrongKey.text);
  const metrics = (await request(service.url).get("/metrics").set(headers)).text;

  assert.ok(errors.length >= 10, `${errors.length} errors`);
  for (const [where, text] of [
    ["log", lines.join("")],
    ["metrics", metrics],
    ["errors", errors.join("\n")],
  ] as const) {
    assert.ok(
      !text.includes(canary),
      `the prompt is in the ${where}: ${text.split("\n").find((line) => line.includes(canary)) ?? ""}`,
    );
    assert.ok(!text.includes(JSON.stringify(answer).slice(1, -1)), `the answer is in the ${where}`);
    assert.ok(!text.includes(key), `the key is in the ${where}`);
  }
  assert.ok(lines.length > 0, "there was a log to look at");
});
