import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, test } from "node:test";
import request from "supertest";
import { keysFile, startService, type RunningService, type TestKeys } from "../support/service.ts";

/** What has happened to others where several keys share a server. */
describe("incidents of others: what belongs to another key", { timeout: 120_000 }, () => {
  let guarded: RunningService;
  let keys: TestKeys;
  const chat = "/v1/chat/completions";
  const body = { messages: [{ role: "user", content: "Hi" }], max_tokens: 1 };

  before(async () => {
    keys = await keysFile({ alice: "chat" });
    guarded = await startService(["gpt2"], { apiKeysFile: keys.file });
  });
  after(async () => {
    await guarded[Symbol.asyncDispose]();
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

  test("another's prompts (CVE-2025-46570): none is in the cache, however right the guess", async () => {
    const shared = await keysFile({ alice: "chat", eve: "chat" });
    const said = [
      { role: "user", content: "My PIN is 4711, keep it to yourself. What should I cook for Grandmother's birthday?" },
    ];
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
