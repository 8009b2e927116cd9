import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import OpenAI from "openai";
import { ResponsesWS } from "openai/resources/responses/ws";
import type { ResponsesServerEvent } from "openai/resources/responses/responses";
import { checkedResponses } from "../support/checked-socket.ts";
import { keysFile, startService, type RunningService, type TestKeys } from "../support/service.ts";

describe("the official client's Responses API", { timeout: 60_000 }, () => {
  let service: RunningService;
  let keys: TestKeys;
  let client: OpenAI;
  const request = { model: "llama", input: "Tell me a story.", temperature: 0, max_output_tokens: 24 } as const;
  let text: string;

  before(async () => {
    keys = await keysFile({ alice: "chat", bob: "chat" });
    service = await startService(["llama"], { apiKeysFile: keys.file });
    client = clientOf("alice");
    text = (await client.responses.create(request)).output_text;
    assert.notEqual(text, "");
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  function clientOf(name: string): OpenAI {
    return new OpenAI({ baseURL: `${service.url}/v1`, apiKey: keys.secrets[name] ?? "", maxRetries: 0 });
  }

  test("whole: the text, why it ended, what it took", async () => {
    const response = await client.responses.create({ ...request, metadata: { a: "b" } });
    assert.deepEqual([response.object, response.status, response.model], ["response", "incomplete", "llama"]);
    assert.deepEqual(response.incomplete_details, { reason: "max_output_tokens" });
    assert.deepEqual(response.metadata, { a: "b" });
    assert.equal(response.output_text, text);
    assert.equal(response.usage?.output_tokens, 24);
    assert.equal(response.usage.total_tokens, response.usage.input_tokens + 24);
  });

  test("streaming: OpenAI's events in their order, numbered, and the same text", async () => {
    const types: string[] = [];
    let streamed = "";
    let sequence = 0;
    for await (const event of await client.responses.create({ ...request, stream: true })) {
      types.push(event.type);
      assert.equal((event as { sequence_number: number }).sequence_number, sequence++);
      if (event.type === "response.output_text.delta") streamed += event.delta;
    }
    assert.equal(streamed, text);
    const shape = types.filter((type, index) => type !== types[index - 1]);
    assert.deepEqual(shape, [
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.delta",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.incomplete",
    ]);
  });

  test("its own helper for streams understands them", async () => {
    const final = await client.responses.stream({ ...request, stream: true }).finalResponse();
    assert.equal(final.output_text, text);
  });

  test("goes on with previous_response_id as with the whole conversation", async () => {
    const first = await client.responses.create(request);
    const next = { ...request, input: "And then?" };
    const continued = await client.responses.create({ ...next, previous_response_id: first.id });
    const spelled = await client.responses.create({
      ...next,
      input: [
        { role: "user", content: request.input },
        ...first.output.filter(({ type }) => type === "message"),
        { role: "user", content: "And then?" },
      ] as OpenAI.Responses.ResponseInput,
    });
    assert.equal(continued.output_text, spelled.output_text);
    assert.equal(continued.previous_response_id, first.id);
    await assert.rejects(clientOf("bob").responses.create({ ...next, previous_response_id: first.id }), {
      code: "previous_response_not_found",
    });
    const unkept = await client.responses.create({ ...request, store: false });
    await assert.rejects(client.responses.create({ ...next, previous_response_id: unkept.id }), { status: 400 });
  });

  test("what is not supported is refused by name", async () => {
    for (const [fields, param] of [
      [{ tools: [{ type: "web_search" }] }, "tools.0.type"],
      [{ background: true }, "background"],
      [{ reasoning: { effort: "low" } }, "reasoning"],
      [{ text: { format: { type: "yaml" } } }, "text.format.type"],
      [{ nonsense: 1 }, "nonsense"],
      [{ model: "nobody" }, "model"],
    ] as const) {
      const create = client.responses.create({ ...request, ...fields } as OpenAI.Responses.ResponseCreateParamsNonStreaming);
      await assert.rejects(create, (error) => error instanceof OpenAI.APIError && error.param === param, param);
    }
  });

  describe("on a WebSocket", () => {
    async function answer(socket: ResponsesWS): Promise<ResponsesServerEvent[]> {
      const events: ResponsesServerEvent[] = [];
      for await (const event of socket.stream()) {
        if (event.type === "error") throw event.error;
        if (event.type !== "message") continue;
        events.push(event.message);
        if (event.message.type === "response.completed" || event.message.type === "response.incomplete") return events;
      }
      throw new Error("the connection ended first");
    }

    test("answers response.create with the events of a stream, one after the other", async () => {
      const socket = checkedResponses(client);
      socket.on("error", () => undefined);
      socket.send({ type: "response.create", ...request });
      const events = await answer(socket);
      const deltas = events.map((event) => (event.type === "response.output_text.delta" ? event.delta : ""));
      assert.equal(deltas.join(""), text);
      const last = events.at(-1);
      assert.ok(last?.type === "response.incomplete");

      socket.send({ type: "response.create", ...request, input: "And then?", previous_response_id: last.response.id });
      const next = (await answer(socket)).at(-1);
      assert.ok(next?.type === "response.incomplete" && next.response.previous_response_id === last.response.id);
      socket.close();
    });

    test("calls functions, and goes on with what they gave", async () => {
      const parameters = {
        type: "object",
        properties: { city: { enum: ["Oslo", "Rome"] } },
        required: ["city"],
        additionalProperties: false,
      };
      const tools = [{ type: "function" as const, name: "weather", parameters, strict: true }];
      const socket = checkedResponses(client);
      socket.on("error", () => undefined);
      const tool_choice = { type: "function" as const, name: "weather" };
      socket.send({ type: "response.create", ...request, max_output_tokens: 200, tools, tool_choice });
      const events = await answer(socket);
      const pieces = events.map((event) => (event.type === "response.function_call_arguments.delta" ? event.delta : ""));
      const completed = events.at(-1);
      assert.ok(completed?.type === "response.completed");
      const [call] = completed.response.output;
      assert.ok(call?.type === "function_call" && call.name === "weather");
      assert.equal(pieces.join(""), call.arguments);
      assert.match(call.arguments, /"(Oslo|Rome)"/);

      const output = { type: "function_call_output" as const, call_id: call.call_id, output: "Sunny" };
      socket.send({ type: "response.create", ...request, previous_response_id: completed.response.id, input: [output] });
      const next = (await answer(socket)).at(-1);
      assert.ok(next?.type === "response.incomplete" && next.response.output_text !== "");
      socket.close();
    });

    test("an error names its cause, and the connection lives on", async () => {
      const socket = checkedResponses(client);
      const failed = new Promise<{ error?: { error?: { code?: string } } }>((resolve) => {
        socket.on("error", (error) => resolve(error as never));
      });
      socket.send({ type: "response.create", ...request, max_output_tokens: -1 });
      const { error } = await failed;
      assert.equal(error?.error?.code, "invalid_message");
      socket.send({ type: "response.create", ...request });
      assert.ok((await answer(socket)).length > 3);
      socket.close();
    });

    test("without a key there is no connection", async () => {
      const socket = new ResponsesWS(new OpenAI({ baseURL: `${service.url}/v1`, apiKey: "wrong" }));
      const [error] = (await once(socket as never, "error").catch((thrown: unknown) => [thrown])) as [Error];
      assert.match(error.message, /401|Unexpected server response/);
    });
  });
});
