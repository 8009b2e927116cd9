import assert from "node:assert/strict";
import { readdir, symlink, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import request from "supertest";
import { greedy, StreamClient } from "../support/stream-client.ts";
import { keysFile, startService, type RunningService, type TestKeys } from "../support/service.ts";
import { upgrade } from "../support/upgrade.ts";

/** What has happened to others who serve models, each with the advisory that it is known by. */
describe("incidents of others", { timeout: 120_000 }, () => {
  let service: RunningService;
  let guarded: RunningService;
  let keys: TestKeys;
  const chat = "/v1/chat/completions";
  const body = { messages: [{ role: "user", content: "Hi" }], max_tokens: 1 };

  before(async () => {
    keys = await keysFile({ alice: "chat" });
    [service, guarded] = await Promise.all([startService(["llama"]), startService(["gpt2"], { apiKeysFile: keys.file })]);
  });
  after(async () => {
    await Promise.all([service[Symbol.asyncDispose](), guarded[Symbol.asyncDispose]()]);
  });

  const code = (response: { body: unknown }) => {
    const answered = response.body as { code?: string; error?: { code?: string } };
    return answered.error?.code ?? answered.code;
  };

  test("paths as model names (CVE-2024-37032, CVE-2026-103663): a name is a key of the catalogue and nothing else", async () => {
    const outside = join(service.modelsDir, "..", "outside.txt");
    await writeFile(outside, "secret");
    await symlink("/etc", join(service.modelsDir, "etc"));
    const before = await readdir(service.modelsDir);
    const names = [
      "../outside.txt",
      "../../etc/passwd",
      "/etc/passwd",
      "etc/passwd",
      "..\\outside.txt",
      "%2e%2e%2foutside.txt",
      "llama.gguf/../../x",
      "llama\u0000.gguf",
      ".",
      "..",
      `sha256:${"../".repeat(20)}etc/passwd`,
    ];
    using client = await StreamClient.connect(service.url);
    for (const [index, name] of names.entries()) {
      assert.equal(
        code(
          await request(service.url)
            .post(chat)
            .send({ ...body, model: name }),
        ),
        "model_not_found",
        name,
      );
      client.send({ type: "generate", ...greedy(`path-${index}`, 1), model: name });
      assert.equal((await client.take("error", `path-${index}`)).code, "model_not_found", name);
      const response = await request(service.url).get(`/v1/models/${encodeURIComponent(name)}`);
      assert.equal(response.status, 404, name);
      assert.ok(!response.text.includes("secret"));
    }
    assert.deepEqual(await readdir(service.modelsDir), before);
  });

  test("a foreign Host on any listener (CVE-2024-28224, CVE-2025-66414): refused, whatever the address", async () => {
    const port = new URL(service.url).port;
    for (const host of [
      "evil.example",
      `evil.example:${port}`,
      "localhost.evil.example",
      "127.0.0.1.evil.example",
      "10.0.0.1",
      "0.0.0.0",
      "[::2]",
    ]) {
      for (const path of ["/", "/metrics", "/v1/models", "/api/models", "/health/live", "/openapi.json", "/client/index.js"]) {
        const response = await request(service.url).get(path).set("Host", host);
        assert.ok(response.status === 421 || response.status === 400, `${host} ${path}: ${response.status}`);
      }
      for (const path of ["/v1/stream", "/v1/responses"]) {
        const { status } = await upgrade(service.url, path, { "Sec-WebSocket-Protocol": "llamapod.v1", Host: host });
        assert.ok(status === 421 || status === 400, `${host} ${path}`);
      }
    }
  });

  test("a WebSocket or a request across origins (CVE-2025-24010): refused, also from this machine and from nowhere", async () => {
    for (const origin of [
      "https://evil.example",
      "null",
      "http://localhost:1",
      "http://127.0.0.1",
      "file://",
      "app://x",
      "vscode-webview://x",
      `${service.url}.evil.example`,
    ]) {
      for (const path of ["/v1/stream", "/v1/responses"]) {
        const { status } = await upgrade(service.url, path, { "Sec-WebSocket-Protocol": "llamapod.v1", Origin: origin });
        assert.equal(status, 403, `${origin} ${path}`);
      }
      const response = await request(service.url).post(chat).set("Origin", origin).send(body);
      assert.equal(response.status, 403, origin);
      assert.equal(response.headers["access-control-allow-origin"], undefined);
    }
  });

  test("a form of another page, which no browser asks about first: refused as no JSON", async () => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) {
      const response = await request(service.url).post(chat).set("Content-Type", type).send(JSON.stringify(body));
      assert.equal(response.status, 415, type);
    }
  });

  test("models that come in through the API (CVE-2026-7482): there is no door for them", async () => {
    for (const path of ["/api/create", "/api/push", "/api/blobs/sha256:00", "/api/models", "/v1/files", "/v1/uploads"]) {
      for (const method of ["post", "put", "patch"] as const) {
        const sender = request(service.url);
        const response = await sender[method](path).send({ name: "x", files: { "x.gguf": "sha256:00" } });
        assert.ok(response.status === 404 || response.status === 405, `${method} ${path}: ${response.status}`);
      }
    }
  });

  test("numbers that reach native code (CVE-2026-21869, CVE-2026-43629): bounded, and unknown ones refused", async () => {
    const wrong: readonly Record<string, unknown>[] = [
      { n_discard: -1 },
      { n_keep: -1 },
      { cache_prompt: true },
      { slot_id: 0 },
      { id_slot: -1 },
      { grammar: 'root ::= "a"' },
      { lora: [] },
      { chat_parser: "x" },
      { max_tokens: 0 },
      { max_tokens: -1 },
      { max_tokens: 1e9 },
      { max_tokens: 1.5 },
      { max_tokens: "1" },
      { temperature: -0.1 },
      { temperature: 1e9 },
      { top_p: 0 },
      { top_p: 1.1 },
      { top_k: -1 },
      { top_k: 1e12 },
      { min_p: -1 },
      { min_p: 2 },
      { seed: -1 },
      { seed: 2 ** 53 },
      { repeat_penalty: 0 },
      { repeat_penalty: 1e30 },
      { presence_penalty: 3 },
      { frequency_penalty: -3 },
    ];
    using client = await StreamClient.connect(service.url);
    await client.take("hello");
    for (const fields of wrong) {
      const [name = ""] = Object.keys(fields);
      const response = await request(service.url)
        .post(chat)
        .send({ ...body, ...fields });
      assert.equal(response.status, 400, name);
      assert.equal((response.body as { error: { param: string } }).error.param, name);
    }
    // The connection would be closed after ten of them.
    for (const fields of wrong.slice(0, 9)) {
      client.socket.send(JSON.stringify({ type: "generate", ...greedy("n", 1), ...fields }));
      assert.equal((await client.take("error")).code, "invalid_message", JSON.stringify(fields));
    }
  });

  test("templates in requests (CVE-2025-62426, CVE-2026-115911): refused", async () => {
    for (const fields of [
      { chat_template: "{% for i in range(1000000000) %}{% endfor %}" },
      { chat_template_kwargs: { enable_thinking: true } },
      { add_generation_prompt: false },
    ]) {
      assert.equal(
        (
          await request(service.url)
            .post(chat)
            .send({ ...body, ...fields })
        ).status,
        400,
      );
    }
  });

  test("requests that take much and cost little to send (CVE-2026-34756, CVE-2026-55574): bounded", async () => {
    const depth = 200_000;
    const nested = `${"[".repeat(depth)}${"]".repeat(depth)}`;
    for (const fields of [
      { n: 1_000_000 },
      { best_of: 100 },
      { stop: Array.from({ length: 10_000 }, () => "x") },
      { stop: "x".repeat(100_000) },
      { logit_bias: { "1": 1 } },
      { top_logprobs: 1e9 },
      { response_format: { type: "json_schema", json_schema: { name: "x", schema: { pattern: "(a+)+$" } } } },
      { tools: [{ type: "function", function: { name: "x" } }] },
    ]) {
      assert.equal(
        (
          await request(service.url)
            .post(chat)
            .send({ ...body, ...fields })
        ).status,
        400,
        JSON.stringify(fields).slice(0, 60),
      );
    }
    const deep = await request(service.url).post(chat).type("json").send(`{"messages": ${nested}}`);
    assert.equal(deep.status, 400);
    assert.equal((await request(service.url).post(chat).send(body)).status, 200, "and it lives");
  });

  test("addresses that the server would fetch (CVE-2026-100650, CVE-2026-5530): it fetches none", async () => {
    for (const part of [
      { type: "image_url", image_url: { url: "http://169.254.169.254/latest/meta-data" } },
      { type: "input_audio", input_audio: { data: "", format: "wav" } },
      { type: "file", file: { file_id: "http://127.0.0.1" } },
    ]) {
      const response = await request(service.url)
        .post(chat)
        .send({ messages: [{ role: "user", content: [part] }] });
      assert.equal(response.status, 400, part.type);
    }
    const image = { type: "input_image", image_url: "http://127.0.0.1:1" };
    const response = await request(service.url)
      .post("/v1/responses")
      .send({ input: [{ role: "user", content: [image] }] });
    assert.equal(response.status, 400);
  });

  test("keys that are guessed or huge (CVE-2025-59425, CVE-2025-48956): a wrong one tells nothing, a huge one is not read", async () => {
    const right = keys.secrets["alice"] ?? "";
    const answers = new Set<string>();
    for (const wrong of [
      right.slice(0, -1),
      `${right.slice(0, -1)}!`,
      "x",
      right.toUpperCase(),
      `${right} `.trimEnd().repeat(2),
    ]) {
      const response = await request(guarded.url).get("/v1/models").set("Authorization", `Bearer ${wrong}`);
      assert.equal(response.status, 401);
      answers.add(response.text);
    }
    assert.equal(answers.size, 1, "the same answer for each");
    const huge = await request(guarded.url)
      .get("/v1/models")
      .set("Authorization", `Bearer ${"x".repeat(20_000)}`);
    assert.equal(huge.status, 431);
  });

  test("paths that mean another one (CVE-2026-48746): none gets past the keys", async () => {
    const port = Number(new URL(guarded.url).port);
    const paths = [
      "//v1/models",
      "/v1//models",
      "/V1/MODELS",
      "/v1/models/",
      "/./v1/models",
      "/health/../v1/models",
      "/health/live/../../v1/models",
      "/health/live/%2e%2e/%2e%2e/v1/models",
      "/health/live%2f..%2f..%2fv1/models",
      "/index.html/../v1/models",
      "/client/../v1/models",
      "/v1/models?x=/health/live",
      "/v1/models#/health/live",
      "/v1/models;/health/live",
      "/health/live;/../../v1/models",
      "/\\v1\\models",
      "http://localhost/v1/models",
      "/openapi.json/../v1/models",
      "/metrics",
      "/metrics/",
      "//metrics",
      "/%6detrics",
      "/api/models",
      "/API/models",
    ];
    for (const path of paths) {
      const socket = connect(port, "127.0.0.1");
      socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost:${port}\r\nConnection: close\r\n\r\n`);
      const answer = (await socket.toArray()).join("");
      assert.match(answer, /^HTTP\/1\.1 4\d\d /, path);
      assert.doesNotMatch(answer, /"gpt2"|llamapod_/, path);
    }
  });

  test("a header of many entries (CVE-2024-37890): refused before it is an upgrade", async () => {
    const many = Object.fromEntries(Array.from({ length: 3_000 }, (_, index) => [`x-${index}`, "x"]));
    const outcome = await upgrade(service.url, "/v1/stream", { "Sec-WebSocket-Protocol": "llamapod.v1", ...many }).catch(() => ({
      status: 431,
    }));
    assert.notEqual(outcome.status, 101);
    using client = await StreamClient.connect(service.url);
    await client.take("hello");
  });

  test("another's prompts (CVE-2025-46570): none is in the cache, however right the guess", async () => {
    const shared = await keysFile({ alice: "chat", eve: "chat" });
    const said = [{ role: "user", content: "My PIN is 4711, keep it to yourself. What should I cook for Grandmother's birthday?" }];
    for (const [setting, isShared] of [
      ["key", false],
      ["shared", true],
    ] as const) {
      await using both = await startService(["llama"], { apiKeysFile: shared.file, prefixCache: setting });
      const cachedFor = async (name: string) => {
        const asked = request(both.url)
          .post(chat)
          .set("Authorization", `Bearer ${shared.secrets[name] ?? ""}`);
        const answered = (await asked.send({ messages: said, max_tokens: 1 })).body as {
          usage: { prompt_tokens_details: { cached_tokens: number } };
        };
        return answered.usage.prompt_tokens_details.cached_tokens;
      };
      assert.equal(await cachedFor("alice"), 0);
      assert.equal((await cachedFor("eve")) > 0, isShared);
      assert.ok((await cachedFor("alice")) > 20, "but one's own are");
    }
  });

  test("another's stream (llama-server's resumable streams): to another key it does not exist", async () => {
    const shared = await keysFile({ alice: "chat", eve: "chat" });
    await using both = await startService(["llama"], { apiKeysFile: shared.file });
    const as = (name: string) => ({ Authorization: `Bearer ${shared.secrets[name] ?? ""}` });
    const asked = await request(both.url)
      .post(chat)
      .set({ ...as("alice"), "Llamapod-Detach": "grace=30" })
      .send({ ...body, stream: true });
    const [, id = ""] = /id: (chatcmpl-[^:]+):/.exec(asked.text) ?? [];
    assert.equal((await request(both.url).get(`/v1/generations/${id}/events`).set(as("eve"))).status, 404);
    assert.equal((await request(both.url).get(`/v1/generations/${id}/events`).set(as("alice"))).status, 200);
  });
});
