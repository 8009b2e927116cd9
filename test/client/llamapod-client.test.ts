import { deepEqual, equal, notEqual, ok, rejects, throws } from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { ClientError, LlamapodClient, type AnswerEvent, type AnswerRequest, type ClientOptions } from "llamapod/client";
import { CheckedSocket as WebSocket } from "../support/checked-socket.ts";
import { Cable } from "../support/cable.ts";
import { startService, type RunningService } from "../support/service.ts";

const tokens = 120;

function greedy(maxTokens: number, content = "Tell me a story."): AnswerRequest {
  return { messages: [{ role: "user", content }], temperature: 0, max_tokens: maxTokens };
}

function clientOf(url: string, options: Partial<ClientOptions> = {}): LlamapodClient {
  return new LlamapodClient({ url, WebSocket, ...options });
}

async function eventsOf(answer: AsyncIterable<AnswerEvent>): Promise<AnswerEvent[]> {
  const events: AnswerEvent[] = [];
  for await (const event of answer) events.push(event);
  return events;
}

function textOf(events: readonly AnswerEvent[]): string {
  return events.map((event) => (event.type === "delta" ? event.text : "")).join("");
}

describe("llamapod/client", { timeout: 120_000 }, () => {
  let service: RunningService;
  let undisturbed: string;

  before(async () => {
    service = await startService(["llama", "gpt2"], { maxResident: 2 });
    using client = clientOf(service.url);
    undisturbed = (await client.generate(greedy(tokens)).result).text;
    notEqual(undisturbed, "");
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  it("gives an answer's events as they come: queued while it waits, started, deltas, done", async () => {
    using client = clientOf(service.url);
    const events = await eventsOf(client.generate(greedy(tokens)));
    const shown = events.filter(({ type }) => type !== "queued");
    const [first, last] = [shown[0], shown.at(-1)];
    ok(first?.type === "started" && first.model === "llama" && first.promptTokens > 0);
    ok(shown.slice(1, -1).every(({ type }) => type === "delta"));
    ok(last?.type === "done");
    deepEqual([last.finishReason, last.usage.completion_tokens, last.text], ["length", tokens, undisturbed]);
    equal(textOf(events), undisturbed);
    const counted = events.reduce((sum, event) => sum + (event.type === "delta" ? event.tokens : 0), 0);
    equal(counted, tokens);
  });

  it("gives the calls of an answer, each when it is whole, and takes what came of them", async () => {
    using client = clientOf(service.url);
    const parameters = { type: "object", properties: { n: { enum: [1, 2] } }, required: ["n"], additionalProperties: false };
    const tools = [{ type: "function" as const, function: { name: "count", parameters } }];
    const named = { type: "function" as const, function: { name: "count" } };
    const answer = client.generate({ ...greedy(60), tools, tool_choice: named });
    const events = await eventsOf(answer);
    const { text, toolCalls, finishReason } = await answer.result;
    deepEqual([text, finishReason, toolCalls.length], ["", "tool_calls", 1]);
    deepEqual(
      events.flatMap((event) => (event.type === "call" ? [event.call] : [])),
      toolCalls,
    );
    ok([1, 2].includes((JSON.parse(toolCalls[0]?.function.arguments ?? "") as { n: number }).n));
    const said = [
      { role: "user" as const, content: "Count." },
      { role: "assistant" as const, content: null, tool_calls: [...toolCalls] },
      { role: "tool" as const, tool_call_id: toolCalls[0]?.id ?? "", content: "2" },
    ];
    equal((await client.generate({ ...greedy(5), messages: said, tools }).result).usage.completion_tokens, 5);
  });

  it("streams several answers at once, each whole", async () => {
    using client = clientOf(service.url);
    const contents = ["One.", "Two.", "Three.", "Four.", "Five."];
    const streamed = await Promise.all(
      contents.map(async (content) => textOf(await eventsOf(client.generate(greedy(40, content))))),
    );
    const alone: string[] = [];
    for (const content of contents) alone.push((await client.generate(greedy(40, content)).result).text);
    deepEqual(streamed, alone);
  });

  it("goes on exactly where a cut connection left it", async () => {
    await using cable = await Cable.to(service.url);
    const states: string[] = [];
    using client = clientOf(cable.url, { onConnection: ({ kind }) => states.push(kind) });
    const answer = client.generate(greedy(tokens));
    let text = "";
    let cuts = 0;
    cable.isSlow = true;
    for await (const event of answer) {
      if (event.type !== "delta") continue;
      text += event.text;
      if (cuts >= 3) continue;
      cuts++;
      cable.cut();
      cable.isSlow = cuts < 3;
    }
    equal(text, undisturbed);
    ok(states.filter((kind) => kind === "waiting").length >= 1, states.join());
  });

  it("gives a late reader what is there in one piece", async () => {
    using client = clientOf(service.url);
    const answer = client.generate(greedy(tokens));
    await answer.result;
    const events = await eventsOf(answer);
    deepEqual(
      events.map(({ type }) => type),
      ["started", "delta", "done"],
    );
    equal(textOf(events), undisturbed);
  });

  it("lets a second client watch from the start", async () => {
    using asking = clientOf(service.url);
    using watching = clientOf(service.url);
    const asked = asking.generate(greedy(tokens));
    for await (const event of watchedOnceBegun(watching, asked.id)) if (event.type === "done") equal(event.text, undisturbed);
    equal((await asked.result).text, undisturbed);
  });

  it("lets watchers leave an answer to its asker, those beside it too", async () => {
    using asking = clientOf(service.url);
    using elsewhere = clientOf(service.url);
    const asked = asking.generate(greedy(400));
    for await (const { type } of watchedOnceBegun(elsewhere, asked.id)) if (type === "delta") break;
    for (const watching of [elsewhere, asking]) {
      const controller = new AbortController();
      const aborted = watching.watch(asked.id, { signal: controller.signal });
      for await (const { type } of watching.watch(asked.id)) if (type === "delta") break;
      controller.abort(new Error("seen enough"));
      await rejects(aborted.result, /seen enough/);
    }
    equal((await asked.result).finishReason, "length");
    equal((await elsewhere.watch(asked.id).result).finishReason, "length");
  });

  it("cancels by signal, and gives its reason", async () => {
    using client = clientOf(service.url);
    const controller = new AbortController();
    const reason = new Error("enough");
    const answer = client.generate(greedy(1_500), { signal: controller.signal });
    await rejects(async () => {
      for await (const event of answer) if (event.type === "delta") controller.abort(reason);
    }, reason);
    await rejects(answer.result, reason);
    equal((await client.watch(answer.id).result).finishReason, "cancelled");
    await rejects(client.generate(greedy(1), { signal: controller.signal }).result, reason);
  });

  it("cancels what a loop leaves early, and keeps the text of what cancel() ends", async () => {
    using client = clientOf(service.url);
    const left = client.generate(greedy(1_500));
    for await (const event of left) if (event.type === "delta") break;
    const { finishReason, text } = await left.result;
    equal(finishReason, "cancelled");
    ok(text.length > 0 && text.length < 8_000);
  });

  it("throws the server's error with its code", async () => {
    using client = clientOf(service.url);
    const answer = client.generate({ ...greedy(1), model: "nobody" });
    await rejects(eventsOf(answer), (error) => error instanceof ClientError && error.code === "model_not_found");
    await rejects(answer.result, { code: "model_not_found", retryable: false, param: "model" });
    const wrong = client.generate({ ...greedy(1), temperature: -1 });
    await rejects(wrong.result, { code: "invalid_message", param: "temperature" });
  });

  it("switches the model, telling how that goes", async () => {
    using client = clientOf(service.url);
    const change = client.switchTo("gpt2");
    const states: string[] = [];
    for await (const { state } of change) states.push(state);
    equal(states.at(-1), "ready");
    equal((await client.hello()).models.length, 2);
    const [started] = (await eventsOf(client.generate(greedy(2)))).filter(({ type }) => type === "started");
    ok(started?.type === "started" && started.model === "gpt2");
    await client.switchTo("LLAMA").result;
    await rejects(client.switchTo("nobody").result, { code: "model_not_found" });
  });

  it("gives up where it was told how long to try", async () => {
    const port = await freePort();
    using client = clientOf(`http://localhost:${port}`, { patienceMs: 50 });
    await rejects(client.hello(), { code: "unreachable", retryable: true });
    await rejects(client.generate(greedy(1)).result, { code: "unreachable" });
  });

  it("fails what is under way when it is closed", async () => {
    const client = clientOf(service.url);
    const answer = client.generate(greedy(1_500));
    for await (const { type } of answer) {
      if (type === "started") break;
    }
    const other = client.generate(greedy(1_500, "Another."));
    client.close();
    await rejects(other.result, { code: "closed" });
  });

  it("says what is missing where there is no WebSocket", { skip: "WebSocket" in globalThis }, () => {
    throws(() => new LlamapodClient({ url: service.url }), /pass one as an option/);
  });
});

/** A generation can be watched as soon as the server has it. */
async function* watchedOnceBegun(client: LlamapodClient, id: string): AsyncGenerator<AnswerEvent> {
  for (;;) {
    try {
      yield* client.watch(id);
      return;
    } catch (thrown) {
      if (!(thrown instanceof ClientError) || thrown.code !== "generation_not_found") throw thrown;
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
