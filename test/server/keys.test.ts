import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { LlamapodClient } from "llamapod/client";
import request from "supertest";
import { KeyRing, KeysFileError, newKey } from "../../src/server/auth/keys.ts";
import { CheckedSocket as WebSocket } from "../support/checked-socket.ts";
import { greedy, StreamClient, streamUrl } from "../support/stream-client.ts";
import { keysFile, startService, type RunningService, type TestKeys } from "../support/service.ts";
import { upgrade } from "../support/upgrade.ts";

describe("a server with keys", { timeout: 60_000 }, () => {
  let service: RunningService;
  let keys: TestKeys;
  const chat = "/v1/chat/completions";
  const body = { messages: [{ role: "user", content: "Hi" }], max_tokens: 2 };

  before(async () => {
    keys = await keysFile({ alice: "chat", bob: "chat", root: "chat,admin", watcher: "admin" });
    service = await startService(["llama"], { apiKeysFile: keys.file, host: "0.0.0.0", allowedHosts: "localhost" });
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  const bearer = (name: string) => `Bearer ${keys.secrets[name] ?? ""}`;
  const connect = (name: string) => StreamClient.connect(service.url, { headers: { authorization: bearer(name) } });
  const ticket = async (name: string, headers: Record<string, string> = {}) => {
    const response = await request(service.url)
      .post("/v1/stream/tickets")
      .set({ ...headers, Authorization: bearer(name) });
    assert.equal(response.status, 201);
    assert.equal(response.headers["cache-control"], "no-store");
    const { protocol, expires_in_s: seconds } = response.body as { protocol: string; expires_in_s: number };
    assert.equal(seconds, 30);
    return protocol;
  };
  const upgradeWith = async (protocols: string, headers: Record<string, string> = {}) =>
    (await upgrade(service.url, "/v1/stream", { "Sec-WebSocket-Protocol": protocols, ...headers })).status;

  test("asks for one on every route but the probes and the page's files", async () => {
    for (const path of ["/v1/models", "/v1/stream", "/api/models", "/metrics", "/nothing", "/v1/../api/models", "//api/models"]) {
      const response = await request(service.url).get(path);
      assert.equal(response.status, 401, path);
      assert.equal(response.headers["www-authenticate"], "Bearer", path);
    }
    for (const path of [chat, "/v1/completions", "/v1/stream/tickets", "/api/models/llama/switch"]) {
      assert.equal((await request(service.url).post(path).send(body)).status, 401, path);
    }
    for (const path of ["/", "/main.js", "/client/index.js", "/health/live", "/health/ready", "/health/startup"]) {
      assert.equal((await request(service.url).get(path)).status, 200, path);
    }
  });

  test("takes a key of its file, and no other", async () => {
    assert.equal((await request(service.url).get("/v1/models").set("Authorization", bearer("alice"))).status, 200);
    const almost = bearer("alice").slice(0, -1);
    for (const header of ["", "Bearer", "Bearer ", almost, `${bearer("alice")}x`, bearer("alice").replace("Bearer", "Basic")]) {
      const response = await request(service.url).get("/v1/models").set("Authorization", header);
      assert.equal(response.status, 401, header);
      assert.equal((response.body as { error: { code: string } }).error.code, "invalid_api_key");
      assert.ok(!response.text.includes(keys.secrets["alice"] ?? "?"), "the answer does not repeat it");
    }
    const inAddress = await request(service.url).get(`/v1/models?api_key=${keys.secrets["alice"] ?? ""}`);
    assert.equal(inAddress.status, 401, "never in the address");
  });

  test("lets a key do what its scopes say", async () => {
    const post = (path: string, name: string) => request(service.url).post(path).set("Authorization", bearer(name)).send(body);
    assert.equal((await post(chat, "alice")).status, 200);
    assert.equal((await post(chat, "watcher")).status, 403);
    for (const path of ["/api/models/llama/switch", "/api/models/llama/unload", "/api/anything"]) {
      const refused = await post(path, "alice");
      assert.equal(refused.status, 403, path);
      assert.equal((refused.body as { code: string }).code, "insufficient_scope");
    }
    using alice = await connect("alice");
    alice.send({ type: "switch", model: "llama" });
    assert.equal((await alice.take("error")).code, "insufficient_scope");
    using watcher = await connect("watcher");
    watcher.send({ type: "generate", ...greedy("w", 1) });
    assert.equal((await watcher.take("error", "w")).code, "insufficient_scope");
  });

  test("keeps generations apart: to another key one does not exist", async () => {
    using alice = await connect("alice");
    using bob = await connect("bob");
    const own = await alice.generate(greedy("same-id", 8));
    for (const message of [
      { type: "resume", id: "same-id", after: 0 },
      { type: "cancel", id: "same-id" },
      { type: "ack", id: "same-id", seq: own.lastSeq },
    ] as const) {
      bob.send(message);
    }
    assert.equal((await bob.take("error", "same-id")).code, "generation_not_found");
    const others = await bob.generate(greedy("same-id", 3, "Something else."));
    assert.equal(others.done.usage.completion_tokens, 3, "and the id is free for it");
    alice.send({ type: "resume", id: "same-id", after: 0 });
    assert.equal((await alice.take("done", "same-id")).text_sha256, own.done.text_sha256);
  });

  test("a ticket opens one connection, once", async () => {
    const protocol = await ticket("alice");
    const socket = new WebSocket(streamUrl(service.url), ["llamapod.v1", protocol]);
    await once(socket, "open");
    assert.equal(socket.protocol, "llamapod.v1", "the ticket is not echoed");
    socket.terminate();
    assert.equal(await upgradeWith(`llamapod.v1, ${protocol}`), 401, "a second time it is worth nothing");
    assert.equal(await upgradeWith("llamapod.v1, llamapod.ticket.AAAAAAAAAAAAAAAAAAAAAA"), 401);
    assert.equal(await upgradeWith("llamapod.v1"), 401);
  });

  test("a ticket is good for a WebSocket and for nothing else", async () => {
    const protocol = await ticket("alice");
    const response = await request(service.url).get("/v1/models").set("Sec-WebSocket-Protocol", protocol);
    assert.equal(response.status, 401);
    assert.equal(await upgradeWith(`llamapod.v1, ${protocol}`), 101, "and it has not been used up");
  });

  test("a ticket belongs to the origin that asked for it", async () => {
    const origin = service.url;
    const stolen = await ticket("alice", { Origin: origin });
    assert.equal(await upgradeWith(`llamapod.v1, ${stolen}`), 401);
    const used = await ticket("alice", { Origin: origin });
    assert.equal(await upgradeWith(`llamapod.v1, ${used}`, { Origin: origin }), 101);
  });

  test("llamapod/client goes in with its key, and says what is wrong with another", async () => {
    using client = new LlamapodClient({ url: service.url, apiKey: keys.secrets["alice"], WebSocket });
    assert.equal(
      (await client.generate({ messages: [{ role: "user", content: "Hi" }], max_tokens: 2 }).result).usage.completion_tokens,
      2,
    );
    using wrong = new LlamapodClient({ url: service.url, apiKey: "wrong", WebSocket });
    await assert.rejects(wrong.hello(), { code: "refused", message: /not one that this server knows/ });
    using none = new LlamapodClient({ url: service.url, WebSocket });
    await assert.rejects(none.hello(), { code: "refused", message: /asks for an API key/ });
  });
});

describe("a file of keys", () => {
  test("gets no line that it could not hold", () => {
    assert.throws(() => newKey("a b", "chat"), /The name "a b" cannot be used/);
    assert.throws(() => newKey("a", "chat,root"), /scopes are chat and admin/);
  });

  test("holds hashes only, and knows a key by it", () => {
    const { secret, line } = newKey("alice", "chat,admin");
    assert.ok(!line.includes(secret));
    const caller = KeyRing.parse(`# keys\n\n${line}  # hers\n`).find(secret);
    assert.ok(caller !== undefined);
    assert.equal(caller.id, "alice");
    assert.deepEqual([...caller.scopes], ["chat", "admin"]);
  });

  const digest = "a".repeat(64);
  for (const [what, text, reason] of [
    ["nothing", "# none yet\n", /no key/],
    ["a key in the clear", `alice ${newKey("x", "chat").secret} chat`, /Line 1.*64 hexadecimal/],
    ["an unknown scope", `\nalice ${digest} chat,root`, /Line 2.*chat and admin/],
    ["no scope", `alice ${digest}`, /scopes/],
    ["a name with a slash", `a/b ${digest} chat`, /name/],
    ["the same name twice", `a ${digest} chat\na ${digest} admin`, /two keys named a/],
    ["more than belongs in a line", `alice ${digest} chat admin`, /no space/],
  ] as const) {
    test(`with ${what} is refused`, () => {
      assert.throws(
        () => KeyRing.parse(text),
        (error) => error instanceof KeysFileError && reason.test(error.message),
      );
    });
  }
});
