import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { notFetched, realModel } from "../fixtures/real-models.ts";
import { checkedResponses } from "../support/checked-socket.ts";
import { runnersOf } from "../support/processes.ts";
import { Answer, greedy, StreamClient } from "../support/stream-client.ts";
import { modelsFolder, serveFolder, startService, type RunningService } from "../support/service.ts";

const Animal = z.object({
  kind: z.enum(["llama", "alpaca"]),
  age: z.int().min(0).max(40),
  tame: z.boolean().nullable(),
  names: z.array(z.string().max(4)).max(2),
  tag: z.string().regex(/^[A-Z]{2}-\d{3}$/),
  born: z.iso.date(),
});
const schema = z.toJSONSchema(Animal);
const messages = [{ role: "user" as const, content: "Describe an animal." }];
const model = "llama";
const request = { model, messages, temperature: 0, max_completion_tokens: 200 };
const json_schema = { name: "animal", schema, strict: true };

describe("structured output", { timeout: 120_000 }, () => {
  let service: RunningService;
  let client: OpenAI;
  let expected: string;

  before(async () => {
    // Batches of one token: read or written, a token is computed in the same way, to the last bit.
    service = await startService([model], { slots: 1, batchSize: 1, maxSchemaBytes: 2_000 });
    client = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: "none", maxRetries: 0 });
    const whole = await client.chat.completions.create({ ...request, response_format: { type: "json_schema", json_schema } });
    assert.equal(whole.choices[0]?.finish_reason, "stop");
    expected = whole.choices[0].message.content ?? "";
    Animal.parse(JSON.parse(expected));
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  describe("the official client", () => {
    test("parses an answer by its zod helper, whole and streamed", async () => {
      const response_format = zodResponseFormat(Animal, "animal");
      const whole = await client.chat.completions.parse({ ...request, response_format });
      assert.deepEqual(Animal.parse(whole.choices[0]?.message.parsed), whole.choices[0]?.message.parsed);
      const streamed = await client.chat.completions.stream({ ...request, response_format }).finalChatCompletion();
      assert.deepEqual(streamed.choices[0]?.message.parsed, whole.choices[0]?.message.parsed);
    });

    test("gets any object by json_object, cut by max_completion_tokens like any text", async () => {
      const asked = { ...request, response_format: { type: "json_object" as const }, max_completion_tokens: 12 };
      const [choice] = (await client.chat.completions.create(asked)).choices;
      assert.match(choice?.message.content ?? "", /^\{/);
      assert.equal(choice?.finish_reason, "length");
    });

    test("gets it from responses, parsed by its zod helper, over HTTP and a WebSocket", async () => {
      const asked = {
        model,
        input: "Describe an animal.",
        temperature: 0,
        max_output_tokens: 200,
        text: { format: zodTextFormat(Animal, "animal") },
      };
      const response = await client.responses.parse(asked);
      assert.equal(response.output_text, expected);
      assert.deepEqual(response.output_parsed, Animal.parse(JSON.parse(expected)));
      assert.equal(response.text?.format?.type, "json_schema");
      const streamed = await client.responses.stream(asked).finalResponse();
      assert.deepEqual(streamed.output_parsed, response.output_parsed);
      const socket = checkedResponses(client);
      const text = new Promise<string>((resolve, reject) => {
        socket.on("response.output_text.done", (event) => resolve(event.text));
        socket.on("error", reject);
      });
      const { type, name, schema: sent } = asked.text.format;
      socket.send({ type: "response.create", ...asked, text: { format: { type, name, schema: sent } } });
      assert.equal(await text, expected);
      socket.close();
    });
  });

  test("an answer over llamapod.v1, whose runner is killed in the middle, goes on and is the same", async () => {
    using stream = await StreamClient.connect(service.url);
    const asked = {
      ...greedy("killed", 200, "Describe an animal."),
      response_format: { type: "json_schema" as const, json_schema },
    };
    stream.send({ type: "generate", ...asked });
    const answer = new Answer("killed");
    while (answer.tokens < 4) answer.apply(await stream.takeWhere((message) => "first" in message));
    const [runner] = runnersOf(process.pid);
    assert.ok(runner !== undefined);
    process.kill(runner, "SIGKILL");
    const done = await stream.readTo(answer);
    assert.deepEqual([answer.text, done.timings.interruptions, done.finish_reason], [expected, 1, "stop"]);
  });

  describe("is refused with the field", () => {
    const nested = (depth: number): object => (depth === 0 ? {} : { items: nested(depth - 1) });
    const cases = [
      ["a keyword that cannot be enforced", { not: {} }, "unsupported_schema", "response_format.json_schema.schema", /#\/not/],
      [
        "a schema too large",
        { description: "x".repeat(2_000) },
        "schema_too_large",
        "response_format.json_schema.schema",
        /2000/,
      ],
      ["too deep a schema", nested(1_000), "invalid_message", "response_format.json_schema.schema", /deeper/],
      ["endless recursion", { $ref: "#" }, "unsupported_schema", "response_format.json_schema.schema", /#\/\$ref/],
      ["no schema", undefined, "invalid_message", "response_format.json_schema.schema", /schema/],
    ] as const;
    for (const [what, wrong, code, param, message] of cases) {
      test(what, async () => {
        const response_format = {
          type: "json_schema" as const,
          json_schema: { name: "x", ...(wrong !== undefined && { schema: { ...wrong } }) },
        };
        await assert.rejects(client.chat.completions.create({ ...request, response_format }), (error) => {
          assert.ok(error instanceof OpenAI.BadRequestError, String(error));
          assert.deepEqual([error.code, error.param], [code, param]);
          assert.match(error.message, message);
          return true;
        });
        using stream = await StreamClient.connect(service.url);
        stream.socket.send(
          JSON.stringify({ type: "generate", ...greedy(`refused-${what.replaceAll(" ", "-")}`, 5), response_format }),
        );
        const refused = await stream.take("error");
        assert.deepEqual([refused.code, refused.param, refused.retryable], [code, param, false]);
      });
    }

    test("in responses by the name that it has there", async () => {
      const format = { type: "json_schema" as const, name: "x", schema: { if: true } };
      await assert.rejects(client.responses.create({ model, input: "Hi", text: { format } }), {
        status: 400,
        param: "text.format.schema",
      });
    });
  });
});

const smollm2 = await realModel("smollm2");

test("a real model fills in what it was asked for", { skip: smollm2 === undefined ? notFetched : false }, async () => {
  assert.ok(smollm2 !== undefined);
  await using service = await serveFolder(await modelsFolder({ smollm2 }), {});
  const client = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: "none", maxRetries: 0 });
  const City = z.object({ city: z.string(), country: z.string() });
  const answer = await client.chat.completions.parse({
    model: "smollm2",
    messages: [{ role: "user", content: "Answer in JSON with the keys city and country. What is the capital of France?" }],
    temperature: 0,
    max_completion_tokens: 100,
    response_format: zodResponseFormat(City, "city"),
  });
  assert.match(answer.choices[0]?.message.parsed?.city ?? "", /Paris/);
});
