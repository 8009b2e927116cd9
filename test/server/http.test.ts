import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { after, before, describe, test } from "node:test";
import request, { type Test } from "supertest";
import { startService, type RunningService } from "../support/service.ts";

describe("HTTP", () => {
  let service: RunningService;
  const chat = "/v1/chat/completions";
  const body = { messages: [{ role: "user", content: "Hi" }], max_tokens: 3, temperature: 0 };

  before(async () => {
    service = await startService(["gpt2"], { allowedOrigins: "https://friend.example", allowedHosts: "box.local" });
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  const post = (path: string): Test => request(service.url).post(path);

  test("server-sent events: ids, JSON, [DONE], nothing that a proxy would hold back", async () => {
    const response = await post(chat).send({ ...body, stream: true, stream_options: { include_usage: true } });
    assert.equal(response.status, 200);
    assert.equal(response.headers["content-type"], "text/event-stream; charset=utf-8");
    assert.equal(response.headers["cache-control"], "no-cache, no-transform");
    assert.equal(response.headers["x-accel-buffering"], "no");
    assert.ok(response.text.endsWith("\n\ndata: [DONE]\n\n"));
    const events = response.text.split("\n\n").slice(0, -2);
    const sequence = events.flatMap((event) => {
      const [, generation, seq, data] = /^(?:id: (chatcmpl-[\w-]+):(\d+)\n)?data: (\{.*\})$/.exec(event) ?? [];
      assert.ok(data !== undefined, event);
      const { id } = JSON.parse(data) as { id: string };
      if (generation !== undefined) assert.equal(generation, id);
      return seq === undefined ? [] : [Number(seq)];
    });
    assert.ok(sequence.length >= 3);
    assert.deepEqual(
      sequence,
      [...new Set(sequence)].sort((a, b) => a - b),
    );
  });

  describe("what is wrong with a body", () => {
    test("not JSON: 400", async () => {
      const response = await post(chat).type("json").send('{"messages": [');
      assertEnvelope(response, 400, "invalid_json");
    });

    test("JSON, but no object: 400", async () => {
      for (const text of ["[]", '"text"', "null"]) {
        const response = await post(chat).type("json").send(text);
        assert.equal(response.status, 400, text);
      }
    });

    test("nested without end: 400", async () => {
      const deep = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;
      const text = `{"messages": [{"role": "assistant", "content": "x", "parsed": ${deep}}]}`;
      assertEnvelope(await post(chat).type("json").send(text), 400, "invalid_message");
    });

    test("another content type, or none: 415", async () => {
      assertEnvelope(await post(chat).type("text/plain").send(JSON.stringify(body)), 415, "unsupported_media_type");
      assertEnvelope(await post(chat).type("form").send({ messages: "x" }), 415, "unsupported_media_type");
      assertEnvelope(await post(chat), 415, "unsupported_media_type");
    });

    test("an unknown charset or encoding: 415", async () => {
      const odd = await post(chat).set("Content-Type", "application/json; charset=klingon").send(JSON.stringify(body));
      assertEnvelope(odd, 415, "unsupported_media_type");
      const packed = await post(chat).type("json").set("Content-Encoding", "lzma").send(JSON.stringify(body));
      assertEnvelope(packed, 415, "unsupported_media_type");
    });

    test("over the limit: 413", async () => {
      const response = await post(chat).send({ messages: [{ role: "user", content: "x".repeat(1024 * 1024) }] });
      assertEnvelope(response, 413, "request_too_large");
    });

    test("invalid UTF-8: 400, not replacement characters in the prompt", async () => {
      const text = JSON.stringify({ ...body, messages: [{ role: "user", content: "caf?" }] });
      const bytes = Buffer.from(text.replace("?", "\u00e9"), "latin1");
      const asked = post(chat).type("json");
      asked.write(bytes);
      assertEnvelope(await asked, 400, "invalid_json");
    });

    test("valid UTF-8 of every plane is fine", async () => {
      const response = await post(chat).send({ ...body, messages: [{ role: "user", content: "å ∑ 漢 😀 \u0000" }] });
      assert.equal(response.status, 200);
    });
  });

  test("an unknown path: OpenAI's envelope below /v1, a problem elsewhere", async () => {
    assertEnvelope(await post("/v1/embeddings").send({}), 404, "not_found");
    const problem = await request(service.url).get("/api/nothing");
    assert.equal(problem.status, 404);
    assert.match(problem.headers["content-type"] ?? "", /^application\/problem\+json/);
    assert.deepEqual(problem.body, {
      type: "about:blank",
      title: "not_found",
      status: 404,
      detail: "There is no GET /api/nothing.",
      code: "not_found",
    });
  });

  test("a foreign Host: 421 on every route", async () => {
    for (const path of ["/", "/health/live", "/metrics", "/v1/models", "/api/models"]) {
      const response = await request(service.url).get(path).set("Host", "rebound.example");
      assert.equal(response.status, 421, path);
    }
    assert.equal((await request(service.url).get("/v1/models").set("Host", "box.local:8080")).status, 200);
    assert.equal((await request(service.url).get("/v1/models").set("Host", "localhost")).status, 200);
    assert.equal((await request(service.url).get("/v1/models").set("Host", "box.local.evil.example")).status, 421);
  });

  test("a foreign Origin: 403; this one and allowed ones: welcome", async () => {
    const from = async (origin: string) => (await post(chat).set("Origin", origin).send(body)).status;
    assert.equal(await from("https://evil.example"), 403);
    assert.equal(await from("null"), 403);
    assert.equal(await from("http://127.0.0.1"), 403, "another port");
    assert.equal(await from("https://friend.example"), 200);
    assert.equal(await from("http://friend.example"), 403, "another scheme");
    assert.equal(await from(`http://127.0.0.1:${new URL(service.url).port}`), 200);
  });

  test("the page: strict policy, whose hash is that of its import map", async () => {
    const page = await request(service.url).get("/");
    assert.equal(page.status, 200);
    const policy = page.headers["content-security-policy"] ?? "";
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe|\*/);
    assert.equal(page.headers["x-content-type-options"], "nosniff");
    const [, importMap] = /<script type="importmap">([\s\S]*?)<\/script>/.exec(page.text) ?? [];
    assert.ok(importMap !== undefined, "the page has an import map");
    assert.ok(policy.includes(`'sha256-${createHash("sha256").update(importMap).digest("base64")}'`));
    assert.equal([...page.text.matchAll(/<script\b(?![^>]*\bsrc=)/g)].length, 1, "no other script stands in the page");
    assert.equal(page.headers["x-powered-by"], undefined);
  });

  test("an upgrade to what is not served, as to h2c: passed over, and the connection stays", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const headers = { Connection: "Upgrade, HTTP2-Settings", Upgrade: "h2c", "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA" };
    const ask = async (method: string, path: string, pieces: readonly string[]) => {
      const asked = httpRequest(new URL(path, service.url), {
        agent,
        method,
        headers: { ...headers, "Content-Type": "application/json" },
      });
      for (const piece of pieces) await new Promise((resolve) => asked.write(piece, resolve));
      const [response] = (await once(asked.end(), "response")) as [IncomingMessage];
      return { status: response.statusCode, text: (await response.toArray()).join(""), reused: asked.reusedSocket };
    };
    const models = await ask("GET", "/v1/models", []);
    assert.deepEqual([models.status, JSON.parse(models.text)], [200, (await request(service.url).get("/v1/models")).body]);
    const padding = " ".repeat(200_000);
    const answer = await ask("POST", chat, [padding, JSON.stringify(body), padding]);
    assert.deepEqual([answer.status, answer.reused], [200, true], answer.text);
    agent.destroy();
  });

  test("no file outside the page's folder", async () => {
    for (const path of ["/../version.js", "/%2e%2e/version.js", "/..%2fversion.js", "/.npmrc"]) {
      assert.equal((await request(service.url).get(path)).status, 404, path);
    }
  });
});

function assertEnvelope(response: Awaited<Test>, status: number, code: string): void {
  assert.equal(response.status, status, response.text);
  const { error } = response.body as { error: Record<string, unknown> };
  assert.equal(error["code"], code);
  assert.equal(typeof error["message"], "string");
  assert.equal(typeof error["type"], "string");
  assert.ok("param" in error);
}
