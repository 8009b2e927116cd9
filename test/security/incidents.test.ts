import assert from "node:assert/strict";
import { readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import request from "supertest";
import { greedy, StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

/** What has happened to others who serve models, each with the advisory that it is known by. */
describe("incidents of others", { timeout: 120_000 }, () => {
  let service: RunningService;
  const chat = "/v1/chat/completions";
  const body = { messages: [{ role: "user", content: "Hi" }], max_tokens: 1 };

  before(async () => {
    service = await startService(["llama"]);
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
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
    for (const path of ["..%2f", "..%2foutside.txt", "%2e%2e%2f%2e%2e%2fetc", "sha256:..%2f..%2fx"]) {
      const response = await request(service.url).post(`/api/models/${path}/pull`);
      assert.deepEqual([response.status, code(response)], [404, "model_not_found"], path);
    }
    assert.deepEqual(await readdir(service.modelsDir), before);
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
      // As an automaton, this one has 2^30 states, and each of the next one's 700 has a thousand ranges.
      ...["(a|b)*a(a|b){30}$", "^(\\p{L}|\\p{N}){700}$"].map((pattern) => ({
        response_format: { type: "json_schema", json_schema: { name: "x", schema: { pattern } } },
      })),
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
    const harmless = { type: "json_schema", json_schema: { name: "x", schema: { pattern: "(a+)+$" } } };
    const answered = await request(service.url)
      .post(chat)
      .send({ ...body, response_format: harmless });
    assert.equal(answered.status, 200, "no automaton goes back to try another way");
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
});
