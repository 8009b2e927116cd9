import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import OpenAI from "openai";
import { zodFunction } from "openai/helpers/zod";
import { z } from "zod";
import type { ServerMessage } from "../../src/protocol/stream.ts";
import type { ToolCallDelta } from "../../src/protocol/tools.ts";
import { callsOf } from "../../src/stream/calls/call-deltas.ts";
import { runnersOf } from "../support/processes.ts";
import { greedy, StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

const City = z.object({ city: z.enum(["Malmö", "Lund"]), days: z.int().min(1).max(9) });
const parameters = z.toJSONSchema(City);
const weather = {
  type: "function" as const,
  function: { name: "weather", description: "The weather <|eot_id|>", parameters, strict: true },
};
const time = {
  type: "function" as const,
  function: { name: "time", parameters: { type: "object", properties: {}, additionalProperties: false } },
};
const model = "llama";
const messages = [{ role: "user" as const, content: "What is the weather?" }];
const request = { model, messages, temperature: 0, max_completion_tokens: 200, tools: [weather, time] };
const named = { type: "function" as const, function: { name: "weather" } };

describe("tools", { timeout: 120_000 }, () => {
  let service: RunningService;
  let client: OpenAI;

  before(async () => {
    service = await startService([model], { slots: 1, batchSize: 1 });
    client = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: "none", maxRetries: 0 });
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  describe("the official client", () => {
    test("a call, its result, and the final answer", async () => {
      const called = await client.chat.completions.create({ ...request, tool_choice: named });
      const [choice] = called.choices;
      assert.ok(choice !== undefined);
      assert.deepEqual([choice.finish_reason, choice.message.content], ["tool_calls", null]);
      const [call, ...others] = choice.message.tool_calls ?? [];
      assert.ok(call?.type === "function" && others.length === 0);
      assert.equal(call.function.name, "weather");
      City.parse(JSON.parse(call.function.arguments));
      const result = { role: "tool" as const, tool_call_id: call.id, content: "Sunny <|eot_id|>" };
      const final = await client.chat.completions.create({
        ...request,
        messages: [...messages, choice.message, result],
        max_completion_tokens: 8,
        tool_choice: "none",
      });
      assert.equal(final.choices[0]?.finish_reason, "length");
      assert.notEqual(final.choices[0].message.content, "");
    });

    test("streamed: id and name first, then the arguments, and no text", async () => {
      const chunks = [];
      for await (const chunk of await client.chat.completions.create({ ...request, tool_choice: "required", stream: true }))
        chunks.push(chunk);
      const deltas = chunks.flatMap(({ choices }) => choices[0]?.delta.tool_calls ?? []);
      assert.ok(deltas.length > 2);
      assert.match(deltas[0]?.id ?? "", /^call_/);
      assert.deepEqual([deltas[0]?.type, deltas[0]?.index], ["function", 0]);
      assert.ok(deltas[0]?.function?.name !== undefined);
      assert.ok(chunks.every(({ choices }) => (choices[0]?.delta.content ?? "") === ""));
      assert.equal(chunks.findLast(({ choices }) => choices.length > 0)?.choices[0]?.finish_reason, "tool_calls");
      for (const {
        function: { name, arguments: text },
      } of callsOf(deltas as ToolCallDelta[])) {
        if (name === "weather") City.parse(JSON.parse(text));
        else assert.deepEqual([name, JSON.parse(text)], ["time", {}]);
      }
    });

    test("its helper runs the function, whole and streamed", async () => {
      for (const stream of [false, true]) {
        const asked: z.output<typeof City>[] = [];
        const tool = zodFunction({ name: "weather", parameters: City, function: (city) => (asked.push(city), "sunny") });
        const common = { ...request, tools: [tool], tool_choice: named };
        const runner = stream
          ? client.chat.completions.runTools({ ...common, stream: true })
          : client.chat.completions.runTools({ ...common, stream: false });
        await runner.done();
        assert.equal(asked.length, 1);
        assert.ok(runner.messages.some((message) => message.role === "tool"));
      }
    });

    test("tools and a form for the answer: one of both", async () => {
      const response_format = { type: "json_schema" as const, json_schema: { name: "x", schema: { const: "no call" } } };
      const [choice] = (await client.chat.completions.create({ ...request, response_format })).choices;
      if (choice?.finish_reason === "stop") assert.equal(choice.message.content, '"no call"');
      else assert.equal(choice?.finish_reason, "tool_calls");
    });

    test("without a choice the model may answer as it likes", async () => {
      const [choice] = (await client.chat.completions.create({ ...request, max_completion_tokens: 8 })).choices;
      assert.equal(choice?.finish_reason, "length");
    });

    test("responses: function_call items with their events, function_call_output items, previous_response_id", async () => {
      const flat = { type: "function" as const, name: "weather", parameters, strict: true };
      const asked = {
        model,
        input: "What is the weather?",
        temperature: 0,
        max_output_tokens: 200,
        tools: [flat],
        tool_choice: { type: "function" as const, name: "weather" },
      };
      const types = new Set<string>();
      const stream = client.responses.stream(asked);
      for await (const event of stream) types.add(event.type);
      const response = await stream.finalResponse();
      for (const type of [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
      ]) {
        assert.ok(types.has(type), type);
      }
      assert.ok(!types.has("response.output_text.delta"));
      const [item] = response.output;
      assert.ok(item?.type === "function_call" && response.output.length === 1 && response.status === "completed");
      City.parse(JSON.parse(item.arguments));
      const output = { type: "function_call_output" as const, call_id: item.call_id, output: "Sunny" };
      const short = { model, temperature: 0, max_output_tokens: 8, tools: [flat] };
      const continued = await client.responses.create({ ...short, previous_response_id: response.id, input: [output] });
      const { type, call_id, name, arguments: text } = item;
      const spelled = await client.responses.create({
        ...short,
        input: [{ role: "user", content: asked.input }, { type, call_id, name, arguments: text }, output],
      });
      assert.notEqual(continued.output_text, "");
      assert.equal(continued.output_text, spelled.output_text);
    });
  });

  test("over llamapod.v1 calls are part of the log: read again from the start, and when the runner dies, they are the same", async () => {
    using stream = await StreamClient.connect(service.url);
    const tools = { tools: [weather], tool_choice: named };
    const read = async (id: string, onFirst: () => void) => {
      const seen: ServerMessage[] = [];
      for (;;) {
        const message = await stream.takeWhere((candidate) => "first" in candidate && candidate.id === id);
        seen.push(message);
        if (message.type === "delta" && message.tool_calls !== undefined && seen.length === 2) onFirst();
        if (message.type !== "done") continue;
        assert.equal(message.finish_reason, "tool_calls");
        const deltas = seen.flatMap((frame) => (frame.type === "delta" ? (frame.tool_calls ?? []) : []));
        assert.ok(seen.every((frame) => frame.type !== "delta" || frame.text === ""));
        return callsOf(deltas);
      }
    };
    stream.send({ type: "generate", ...greedy("calls", 200), ...tools });
    const calls = await read("calls", () => undefined);
    City.parse(JSON.parse(calls[0]?.function.arguments ?? ""));
    stream.send({ type: "resume", id: "calls", after: 0 });
    assert.deepEqual(await read("calls", () => undefined), calls);
    stream.send({ type: "generate", ...greedy("killed", 200), ...tools });
    const again = await read("killed", () => process.kill(runnersOf(process.pid)[0] ?? 0, "SIGKILL"));
    assert.deepEqual(
      again.map((call) => call.function),
      calls.map((call) => call.function),
    );
  });

  const wrong = [
    ["tools.0.function.name", { tools: [{ ...time, function: { ...time.function, name: "no spaces" } }] }, /A-Z/],
    ["tools.1", { tools: [time, time] }, /another tool/],
    [
      "tools.0.function.parameters",
      { tools: [{ ...time, function: { ...time.function, strict: true, parameters: { not: {} } } }], tool_choice: "required" },
      /#\/not/,
    ],
    ["tool_choice", { tool_choice: { type: "function", function: { name: "nobody" } } }, /none of the tools/],
    ["tool_choice", { tools: [], tool_choice: "required" }, /needs tools/],
    ["messages.1.tool_call_id", { messages: [...messages, { role: "tool", content: "x" }] }, /./],
    ["messages.1.tool_call_id", { messages: [...messages, { role: "tool", content: "x", tool_call_id: "call_1" }] }, /no call/],
    [
      "messages.1.tool_calls.0.function.arguments",
      {
        messages: [
          ...messages,
          {
            role: "assistant",
            content: null,
            tool_calls: [{ id: "a", type: "function", function: { name: "time", arguments: "[" } }],
          },
        ],
      },
      /JSON object/,
    ],
  ] as const;
  for (const [param, fields, message] of wrong) {
    test(`${param} is refused by name: ${JSON.stringify(fields).slice(0, 60)}`, async () => {
      const asked = client.chat.completions.create({
        ...request,
        ...fields,
      } as unknown as OpenAI.ChatCompletionCreateParamsNonStreaming);
      await assert.rejects(asked, (error) => {
        assert.ok(error instanceof OpenAI.BadRequestError, String(error));
        assert.equal(error.param, param);
        assert.match(error.message, message);
        return true;
      });
    });
  }
});
