import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { pino } from "pino";
import request from "supertest";
import { WebSocket } from "ws";
import { Collector } from "../observability/collector.ts";
import { runnersOf, until } from "../support/processes.ts";
import { greedy, StreamClient, streamUrl } from "../support/stream-client.ts";
import { keysFile, startService } from "../support/service.ts";

test("no prompt, answer or key reaches a log, a metric or an error", { timeout: 60_000 }, async () => {
  const lines: string[] = [];
  const log = pino({ level: "trace" }, { write: (line: string) => lines.push(line) });
  const keys = await keysFile({ alice: "chat,admin" });
  const key = keys.secrets["alice"] ?? "";
  const canary = `canary${randomBytes(12).toString("hex")}`;
  await using collector = await Collector.start();
  process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url;
  const service = await startService(["llama"], { apiKeysFile: keys.file, logLevel: "trace", llamaLogLevel: "debug" }, log);
  delete process.env["OTEL_EXPORTER_OTLP_ENDPOINT"];
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

  // What else of a request is the client's own: schemas, functions and what they gave, strings that end an answer.
  const schema = {
    type: "object",
    properties: { [canary]: { enum: [canary] } },
    required: [canary],
    additionalProperties: false,
  };
  const json_schema = { name: "secret", strict: true, schema };
  const called = { id: "c", type: "function", function: { name: canary, arguments: `{"a":"${canary}"}` } };
  const tools = [{ type: "function", function: { name: canary, description: canary, parameters: schema } }];
  const conversation = [
    ...chat.messages,
    { role: "assistant", content: null, tool_calls: [called] },
    { role: "tool", tool_call_id: "c", content: canary },
  ];
  const ofItsOwn = { ...chat, max_tokens: 200, response_format: { type: "json_schema", json_schema } };
  assert.ok((await post("/v1/chat/completions", ofItsOwn)).text.includes(canary), "the schema was held to");
  const tool_choice = { type: "function", function: { name: canary } };
  assert.ok((await post("/v1/chat/completions", { ...chat, max_tokens: 200, tools, tool_choice })).text.includes(canary));
  assert.equal((await post("/v1/chat/completions", { ...chat, messages: conversation, tools })).status, 200);
  assert.equal((await post("/v1/chat/completions", { ...chat, stop: [canary], user: canary, metadata: { canary } })).status, 200);
  await post("/v1/chat/completions", { ...chat, stop: Array.from({ length: 9 }, () => canary) });
  await post("/v1/chat/completions", { ...chat, stop: [canary, ""] });
  await post("/v1/chat/completions", {
    ...chat,
    tools: [{ type: "function", function: { name: `${canary} `, parameters: schema } }],
  });
  await post("/v1/chat/completions", { ...chat, tools: [...tools, ...tools] });
  await post("/v1/chat/completions", { ...ofItsOwn, tools, tool_choice: { type: "function", function: { name: `${canary}x` } } });
  for (const bad of [{ not: { const: canary } }, { pattern: `(?<=${canary})` }, { enum: canary }]) {
    await post("/v1/chat/completions", {
      ...chat,
      response_format: { type: "json_schema", json_schema: { ...json_schema, schema: bad } },
    });
  }

  // What is wrong with each lies beside the prompt, or in it.
  await post("/v1/chat/completions", { ...chat, temperature: 99 });
  await post("/v1/chat/completions", { messages: [{ role: canary, content: canary }] });
  await post("/v1/chat/completions", { messages: canary });
  await post("/v1/chat/completions", `{"messages": [{"role": "user", "content": "${canary}" x}]}`);
  await post("/v1/chat/completions", `{"messages": ${canary}}`);
  await post("/v1/completions", { prompt: `${canary} `.repeat(2_000) });
  await post("/v1/responses", { input: [{ role: "user", content: [{ type: canary, text: canary }] }] });

  // An answer that outlives its connection, read again.
  const detached = await request(service.url)
    .post("/v1/chat/completions")
    .set({ ...headers, "Llamapod-Detach": "grace=30" })
    .send({ ...chat, stream: true });
  const [, id = ""] = /^id: (.+):/m.exec(detached.text) ?? [];
  const again = await request(service.url).get(`/v1/generations/${id}/events`).set(headers);
  assert.ok(again.text.includes("[DONE]"));
  errors.push((await request(service.url).get(`/v1/generations/${id}/events`).set(headers).set("Last-Event-ID", canary)).text);

  using client = await StreamClient.connect(service.url, { headers });
  await client.generate(greedy("canary", 12, canary));
  client.socket.send(`{"type": "generate", "prompt": "${canary}`);
  client.socket.send(JSON.stringify({ type: "generate", id: "x", prompt: canary, top_p: 7 }));
  client.socket.send(JSON.stringify({ type: "generate", id: "y", prompt: `${canary} `.repeat(2_000) }));
  for (let count = 0; count < 3; count++) errors.push(JSON.stringify(await client.take("error")));
  const issued = await request(service.url).post("/v1/stream/tickets").set(headers);
  const { protocol: ticket } = issued.body as { protocol: string };
  const byTicket = new WebSocket(streamUrl(service.url), ["llamapod.v1", ticket]);
  await once(byTicket, "open");
  byTicket.terminate();
  const secondTime = await request(service.url).get("/v1/models").set("Sec-WebSocket-Protocol", ticket);
  errors.push(secondTime.text);

  const responses = new WebSocket(streamUrl(service.url).replace("stream", "responses"), { headers });
  await once(responses, "open");
  for (const broken of [`{"input": "${canary}`, JSON.stringify({ type: "response.create", input: [{ type: canary }] })]) {
    responses.send(broken);
    errors.push(String((await once(responses, "message"))[0]));
  }
  responses.terminate();

  // Two runners die with the prompt in them.
  client.send({ type: "generate", ...greedy("crashed", 1_900, canary) });
  const killed = new Set<number>();
  for (let crash = 0; crash < 2; crash++) {
    await until(() => runnersOf(process.pid).some((pid) => !killed.has(pid)));
    const seen = client.received.length;
    await until(() => client.received.slice(seen).some(({ type }) => type === "delta"));
    for (const pid of runnersOf(process.pid)) {
      killed.add(pid);
      process.kill(pid, "SIGKILL");
    }
  }
  errors.push(JSON.stringify(await client.take("error", "crashed")));
  const wrongKey = await request(service.url).get("/v1/models").set("Authorization", `Bearer ${canary}`);
  errors.push(wrongKey.text);
  const metrics = (await request(service.url).get("/metrics").set(headers)).text;
  await service[Symbol.asyncDispose]();
  const spans = JSON.stringify(collector.spans, (_name, value: unknown) => (typeof value === "bigint" ? String(value) : value));
  assert.ok(collector.spans.length > 0, "there were spans to look at");

  assert.ok(errors.length >= 10, `${errors.length} errors`);
  for (const [where, text] of [
    ["log", lines.join("")],
    ["metrics", metrics],
    ["errors", errors.join("\n")],
    ["traces", spans],
  ] as const) {
    assert.ok(
      !text.includes(canary),
      `the prompt is in the ${where}: ${text.split("\n").find((line) => line.includes(canary)) ?? ""}`,
    );
    assert.ok(!text.includes(JSON.stringify(answer).slice(1, -1)), `the answer is in the ${where}`);
    assert.ok(!text.includes(key), `the key is in the ${where}`);
    assert.ok(!text.includes(ticket), `the ticket is in the ${where}`);
  }
  const ofEngine = lines.filter((line) => line.includes('"component":"llama.cpp"'));
  assert.ok(
    [20, 30].every((level) => ofEngine.some((line) => line.startsWith(`{"level":${level},`))),
    "there was a log to look at",
  );
});
