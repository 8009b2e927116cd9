/* eslint-disable @typescript-eslint/no-deprecated -- max_tokens and seed are what most clients still send */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import OpenAI from "openai";
import { sample, scrape } from "../support/metrics.ts";
import { until } from "../support/processes.ts";
import { startService, type RunningService } from "../support/service.ts";

describe("the official OpenAI client", () => {
  let service: RunningService;
  let client: OpenAI;
  const messages = [{ role: "user" as const, content: "Tell me a story." }];
  const model = "llama";

  before(async () => {
    service = await startService(["llama"], { slots: 1 });
    client = new OpenAI({ baseURL: `${service.url}/v1`, apiKey: "none", maxRetries: 0 });
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  test("lists the models", async () => {
    const models = await client.models.list();
    assert.deepEqual(
      models.data.map(({ id, object }) => ({ id, object })),
      [{ id: "llama", object: "model" }],
    );
  });

  test("gets a chat completion", async () => {
    const answer = await client.chat.completions.create({ model, messages, max_tokens: 12 });
    assert.match(answer.id, /^chatcmpl-/);
    assert.equal(answer.object, "chat.completion");
    assert.equal(answer.model, "llama");
    assert.equal(answer.choices.length, 1);
    const [choice] = answer.choices;
    assert.equal(choice?.finish_reason, "length");
    assert.equal(choice.message.role, "assistant");
    assert.notEqual(choice.message.content, "");
    assert.equal(answer.usage?.completion_tokens, 12);
    assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + 12);
    assert.ok((answer.usage.prompt_tokens_details?.cached_tokens ?? -1) >= 0);
  });

  test("gets the same text streamed, with the usage at the end when it asks", async () => {
    const request = { model, messages, max_tokens: 20, temperature: 0 };
    const whole = await client.chat.completions.create(request);
    const stream = await client.chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } });
    const chunks = await collect(stream);
    assert.equal(chunks[0]?.choices[0]?.delta.role, "assistant");
    assert.equal(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join(""), whole.choices[0]?.message.content);
    assert.deepEqual(
      chunks.flatMap(({ choices }) => choices.flatMap(({ finish_reason }) => finish_reason ?? [])),
      ["length"],
    );
    const last = chunks.at(-1);
    assert.deepEqual(last?.choices, []);
    assert.equal(last.usage?.completion_tokens, 20);
    assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
  });

  test("gets no usage when it does not ask", async () => {
    const stream = await client.chat.completions.create({ model, messages, max_tokens: 2, stream: true });
    assert.ok((await collect(stream)).every(({ usage }) => (usage ?? null) === null));
  });

  test("its streaming helper puts the answer together", async () => {
    const final = await client.chat.completions.stream({ model, messages, max_tokens: 5 }).finalChatCompletion();
    assert.equal(final.choices[0]?.finish_reason, "length");
  });

  test("gets a completion of raw text, of 16 tokens unless it says otherwise", async () => {
    const answer = await client.completions.create({ model, prompt: "Once upon a time", temperature: 0 });
    assert.match(answer.id, /^cmpl-/);
    assert.equal(answer.usage?.completion_tokens, 16);
    const stream = await client.completions.create({ model, prompt: "Once upon a time", temperature: 0, stream: true });
    const chunks = await collect(stream);
    assert.equal(chunks.map(({ choices }) => choices[0]?.text ?? "").join(""), answer.choices[0]?.text);
  });

  test("may send a developer message, content in parts, and null for what is not set", async () => {
    const parts = [
      { type: "text" as const, text: "Tell me " },
      { type: "text" as const, text: "a story." },
    ];
    const ask = async (role: "system" | "developer", content: string | typeof parts) => {
      const asked = [
        { role, content: "Be brief." },
        { role: "user" as const, content },
      ];
      const answer = await client.chat.completions.create({
        model,
        messages: asked,
        max_tokens: 10,
        temperature: 0,
        stop: null,
        seed: null,
        top_p: null,
        logit_bias: null,
        stream: null,
      });
      return answer.choices[0]?.message.content;
    };
    assert.equal(await ask("developer", parts), await ask("system", "Tell me a story."));
  });

  test("may give an answer back as it came, nulls, annotations and all", async () => {
    const ask = (conversation: OpenAI.ChatCompletionMessageParam[]) =>
      client.chat.completions.create({ model, messages: conversation, max_tokens: 6, temperature: 0 });
    const { message } = (await ask(messages)).choices[0] ?? assert.fail("there is no answer");
    const next = { role: "user" as const, content: "Go on." };
    const second = await ask([...messages, message, next]);
    // OpenAI's own answers have more to them.
    const { content } = message;
    const sentByOpenAi = {
      role: "assistant" as const,
      content,
      refusal: null,
      audio: null,
      function_call: null,
      annotations: [],
    };
    const same = await ask([...messages, sentByOpenAi, next]);
    assert.equal(same.choices[0]?.message.content, second.choices[0]?.message.content);
    const toolCalls: unknown = { ...sentByOpenAi, tool_calls: null };
    const response = await fetch(`${service.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ messages: [...messages, toolCalls, next], max_tokens: 1 }),
    });
    assert.equal(response.status, 200);
  });

  test("max_completion_tokens is the newer name of max_tokens", async () => {
    const answer = await client.chat.completions.create({ model, messages, max_completion_tokens: 3 });
    assert.equal(answer.usage?.completion_tokens, 3);
  });

  test("the same seed gives the same text, another one another", async () => {
    const sampled = async (seed: number) => {
      const answer = await client.chat.completions.create({ model, messages, max_tokens: 20, temperature: 1.5, seed });
      return answer.choices[0]?.message.content;
    };
    const first = await sampled(7);
    assert.equal(await sampled(7), first);
    assert.notEqual(await sampled(8), first);
  });

  test("a stop string ends the answer", async () => {
    const request = { model, messages, max_tokens: 30, temperature: 0 };
    const whole = (await client.chat.completions.create(request)).choices[0]?.message.content ?? "";
    const stop = whole.slice(30, 33);
    const stopped = (await client.chat.completions.create({ ...request, stop })).choices[0];
    assert.equal(stopped?.message.content, whole.slice(0, whole.indexOf(stop)));
    assert.equal(stopped.finish_reason, "stop");
  });

  const refusals = [
    { field: "n", body: { n: 2 } },
    { field: "tools.0.type", body: { tools: [{ type: "retrieval" }] } },
    { field: "response_format.type", body: { response_format: { type: "yaml" } } },
    { field: "functions", body: { functions: [] } },
    { field: "logprobs", body: { logprobs: true } },
    { field: "temprature", body: { temprature: 1 } },
    { field: "max_tokens", body: { max_tokens: -1 } },
    {
      field: "messages.0.content",
      body: { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "" } }] }] },
    },
    { field: "messages.0.role", body: { messages: [{ role: "function", content: "" }] } },
  ];
  for (const { field, body } of refusals) {
    test(`${field} is refused by name where it is not supported`, async () => {
      const asked = client.chat.completions.create({ model, messages, ...body } as OpenAI.ChatCompletionCreateParamsNonStreaming);
      await assert.rejects(asked, (error) => {
        assert.ok(error instanceof OpenAI.BadRequestError);
        assert.equal(error.type, "invalid_request_error");
        assert.equal(error.param, field);
        assert.ok(error.message.includes(field));
        return true;
      });
    });
  }

  test("a prompt longer than the context: BadRequestError with both numbers", async () => {
    const asked = client.completions.create({ model, prompt: "1 ".repeat(3_000) });
    await assert.rejects(asked, (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.code, "context_length_exceeded");
      assert.match(error.message, /\b6\d{3}\b.*\b2048\b/);
      return true;
    });
  });

  test("an unknown model, or a path: NotFoundError", async () => {
    for (const name of ["gpt-5", "../../etc/passwd", "/etc/passwd", "llama.gguf", "..", "__proto__"]) {
      await assert.rejects(client.chat.completions.create({ model: name, messages }), (error) => {
        assert.ok(error instanceof OpenAI.NotFoundError);
        assert.equal(error.code, "model_not_found");
        assert.equal(error.param, "model");
        return true;
      });
    }
  });

  test("aborting while the prompt is read frees the only slot", async () => {
    const before = await cancelledOver("sse");
    // Headers are sent when a slot begins with the prompt.
    const stream = await client.completions.create({ model, prompt: "1 ".repeat(900), max_tokens: 200, stream: true });
    stream.controller.abort();
    const next = await client.chat.completions.create({ model, messages, max_tokens: 2 });
    assert.equal(next.usage?.completion_tokens, 2);
    assert.equal(await cancelledOver("sse"), before + 1);
  });

  test("going away cancels an answer that is not streamed, too", async () => {
    const before = await cancelledOver("http");
    const abort = new AbortController();
    const asked = client.chat.completions.create({ model, messages, max_tokens: 2_000 }, { signal: abort.signal });
    await until(async () => sample(await scrape(service.url), "llamapod_requests_running", { model }) === 1);
    abort.abort();
    await assert.rejects(asked, OpenAI.APIUserAbortError);
    await client.chat.completions.create({ model, messages, max_tokens: 2 });
    assert.equal(await cancelledOver("http"), before + 1);
  });

  async function cancelledOver(transport: string): Promise<number> {
    const scraped = await scrape(service.url);
    return ["chat", "completions"]
      .map((endpoint) => sample(scraped, "llamapod_requests_total", { model, endpoint, transport, outcome: "cancelled" }))
      .reduce((sum, count) => sum + count, 0);
  }
});

async function collect<Chunk>(stream: AsyncIterable<Chunk>): Promise<Chunk[]> {
  const chunks: Chunk[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}
