import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { sha256 } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

interface Event {
  readonly id: string;
  readonly text: string;
}

describe("server-sent events that outlive their connection", { timeout: 60_000 }, () => {
  let service: RunningService;
  let undisturbed: string;
  const tokens = 300;
  const body = { messages: [{ role: "user", content: "Tell me a story." }], max_tokens: tokens, temperature: 0, stream: true };

  before(async () => {
    service = await startService(["llama"], { slots: 1 });
    undisturbed = textOf(await eventsIn(await ask({})));
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  function ask(headers: Record<string, string>, changes: object = {}, signal?: AbortSignal): Promise<Response> {
    return fetch(`${service.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify({ ...body, ...changes }),
      ...(signal !== undefined && { signal }),
    });
  }

  const resume = (id: string, lastEventId?: string, query = "") =>
    fetch(`${service.url}/v1/generations/${id}/events${query}`, {
      headers: lastEventId === undefined ? {} : { "Last-Event-ID": lastEventId },
    });

  /** Reads so many events, then drops the connection. */
  async function askAndLeave(detach: string | undefined, count: number, changes: object = {}): Promise<Event[]> {
    const leaving = new AbortController();
    const response = await ask(detach === undefined ? {} : { "Llamapod-Detach": detach }, changes, leaving.signal);
    const events: Event[] = [];
    try {
      for await (const event of eventsOf(response)) if (events.push(event) === count) leaving.abort();
    } catch (thrown) {
      assert.ok(leaving.signal.aborted, String(thrown));
    }
    return events;
  }

  test("a dropped connection goes on with Last-Event-ID, without a gap or a repetition", async () => {
    const before = await askAndLeave("grace=30", 20);
    const { id } = before.at(-1) ?? { id: "" };
    const rest = await eventsIn(await resume(id.split(":")[0] ?? "", id));
    assert.equal(textOf([...before, ...rest]), undisturbed);
  });

  test("starting_after does the same, and 0 is everything", async () => {
    const before = await askAndLeave("grace=30", 5);
    const [generation = "", seq = ""] = (before.at(-1)?.id ?? "").split(":");
    assert.equal(
      textOf([...before, ...(await eventsIn(await resume(generation, undefined, `?starting_after=${seq}`)))]),
      undisturbed,
    );
    const whole = await eventsIn(await resume(generation));
    assert.equal(textOf(whole), undisturbed);
    assert.deepEqual(await eventsIn(await resume(generation, whole.at(-1)?.id)), [], "after the end there is only the end");
  });

  test("the last chunk has the hash of the whole text, also for who has resumed; an answer that cannot be resumed has none", async () => {
    const hashIn = (text: string) => [...text.matchAll(/"text_sha256":"(\w+)"/g)].map(([, hash]) => hash);
    const before = await askAndLeave("grace=30", 5);
    const { id } = before.at(-1) ?? { id: "" };
    assert.deepEqual(hashIn(await (await resume(id.split(":")[0] ?? "", id)).text()), [sha256(undisturbed)]);
    assert.deepEqual(hashIn(await (await ask({ "Llamapod-Detach": "grace=30" })).text()), [sha256(undisturbed)]);
    assert.deepEqual(hashIn(await (await ask({})).text()), []);
  });

  test("only whoever has the usage, too, has everything", async () => {
    const response = await ask({ "Llamapod-Detach": "grace=30" }, { max_tokens: 5, stream_options: { include_usage: true } });
    const text = await response.text();
    const ids = [...text.matchAll(/^id: (.+)$/gm)].map(([, id]) => id ?? "");
    assert.match(text, new RegExp(`id: ${ids.at(-1) ?? ""}\ndata: .*"usage"`));
    const beforeEnd = ids.at(-2) ?? "";
    const rest = await (await resume(beforeEnd.split(":")[0] ?? "", beforeEnd)).text();
    assert.match(rest, /"finish_reason":"length"[^]*"usage":{[^]*\[DONE\]/);
  });

  test("a grace time of 0 cancels, and what there was can still be read", async () => {
    const long = 1_900;
    const before = await askAndLeave("grace=0", 3, { max_tokens: long });
    const generation = before[0]?.id.split(":")[0] ?? "";
    const events = await eventsIn(await resume(generation));
    const text = textOf(events);
    assert.ok(undisturbed.startsWith(text) || text.startsWith(undisturbed));
    assert.ok(Number(events.at(-1)?.id.split(":")[1]) < long);
  });

  test("without the header a close is a cancel, and nothing can be resumed", async () => {
    const before = await askAndLeave(undefined, 3);
    const generation = before[0]?.id.split(":")[0] ?? "";
    const { status, code } = await refusal(await resume(generation));
    assert.ok((status === 404 && code === "generation_not_found") || (status === 410 && code === "resume_expired"), code);
  });

  test("a wrong header, place or id is refused by name", async () => {
    const cases = [
      [await ask({ "Llamapod-Detach": "soon" }), 400, "invalid_message"],
      [await ask({ "Llamapod-Detach": "grace=30" }, { stream: false }), 400, "invalid_message"],
      [await ask({ "Llamapod-Detach": "grace=99999" }), 400, "grace_too_long"],
      [await resume("chatcmpl-unknown"), 404, "generation_not_found"],
    ] as const;
    for (const [response, status, code] of cases) assert.deepEqual(await refusal(response), { status, code });
    const [first] = await askAndLeave("grace=30, on-expire=finish", 2);
    const generation = first?.id.split(":")[0] ?? "";
    for (const place of ["other:1", `${generation}:99999`, `${generation}:x`, "1"]) {
      assert.deepEqual(await refusal(await resume(generation, place)), { status: 400, code: "invalid_message" }, place);
    }
  });
});

async function refusal(response: Response): Promise<{ status: number; code: string }> {
  const { error } = (await response.json()) as { error: { code: string } };
  return { status: response.status, code: error.code };
}

async function eventsIn(response: Response): Promise<Event[]> {
  assert.equal(response.status, 200);
  const events: Event[] = [];
  for await (const event of eventsOf(response)) events.push(event);
  return events;
}

async function* eventsOf(response: Response): AsyncGenerator<Event> {
  const decoder = new TextDecoder();
  let pending = "";
  assert.ok(response.body !== null);
  for await (const chunk of response.body) {
    pending += decoder.decode(chunk as Uint8Array, { stream: true });
    const blocks = pending.split("\n\n");
    pending = blocks.pop() ?? "";
    for (const block of blocks) {
      const [, id, data] = /^id: (.+)\ndata: (.+)$/.exec(block) ?? [];
      if (id === undefined || data === undefined) continue;
      const { choices } = JSON.parse(data) as { choices: { delta: { content?: string } }[] };
      yield { id, text: choices[0]?.delta.content ?? "" };
    }
  }
}

function textOf(events: readonly Event[]): string {
  return events.map(({ text }) => text).join("");
}
