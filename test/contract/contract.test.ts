import assert from "node:assert/strict";
import { on, once } from "node:events";
import { after, before, describe, test } from "node:test";
import specifications from "@asyncapi/specs";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv } from "ajv";
import request from "supertest";
import { WebSocket } from "ws";
import { asyncapi } from "../../src/server/contract/asyncapi.ts";
import { openapi } from "../../src/server/contract/openapi.ts";
import { clientMessage } from "../../src/protocol/stream.ts";
import { version } from "../../src/version.ts";
import { assertBody, assertFrame, published } from "../support/contract.ts";
import { greedy } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

describe("the published contract", () => {
  let service: RunningService;

  before(async () => {
    service = await startService(["gpt2"]);
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
  });

  for (const [name, made] of [
    ["openapi", openapi(version)],
    ["asyncapi", asyncapi(version)],
  ] as const) {
    test(`docs/${name}.json is what the schemas say (npm run contract writes it), and what is served`, async () => {
      assert.deepEqual(JSON.parse(JSON.stringify(made)), published(name));
      const response = await request(service.url).get(`/${name}.json`);
      assert.equal(response.status, 200);
      assert.deepEqual(response.body, published(name));
    });

    test(`docs/${name}.json refers to nothing that is not in it`, () => {
      const document: unknown = published(name);
      for (const [, path] of JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)) {
        const target = (path ?? "").split("/").reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], document);
        assert.ok(target !== undefined, path);
      }
    });
  }

  test("docs/openapi.json is what OpenAPI 3.1 allows", async () => {
    const validator = new Validator();
    const { errors } = await validator.validate({ ...published("openapi") });
    assert.deepEqual([validator.version, errors], ["3.1", undefined]);
  });

  test("docs/asyncapi.json is what AsyncAPI 3.0 allows", () => {
    const ajv = new Ajv({ strict: false, validateFormats: false });
    const official: object = specifications.schemasWithoutId["3.0.0"];
    const isAllowed = ajv.validate(official, published("asyncapi"));
    assert.ok(isAllowed, ajv.errorsText());
  });

  test("every path of the document is a route", async () => {
    for (const [path, operations] of Object.entries((openapi(version) as { paths: object }).paths)) {
      for (const method of Object.keys(operations as object) as ("get" | "post" | "delete")[]) {
        const response = await request(service.url)[method](path.replace("{id}", "gpt2"));
        assert.doesNotMatch(response.text, /There is no (GET|POST|DELETE) /, `${method} ${path}`);
      }
    }
  });

  test("answers, lists, tickets and errors match their schemas", async () => {
    const body = { messages: [{ role: "user", content: "Hi" }], max_tokens: 3 };
    const post = async (path: string, sent: object) => (await request(service.url).post(path).send(sent)).body as unknown;
    const get = async (path: string) => (await request(service.url).get(path)).body as unknown;
    assertBody("ChatCompletion", await post("/v1/chat/completions", body));
    assertBody("Completion", await post("/v1/completions", { prompt: "Hi", max_tokens: 3 }));
    assertBody("ModelList", await get("/v1/models"));
    assertBody("Model", await get("/v1/models/gpt2"));
    assertBody("Ticket", await post("/v1/stream/tickets", {}));
    assertBody("Error", await post("/v1/chat/completions", {}));
    assertBody("Problem", await get("/api/nothing"));
  });

  test("events match the schema of their chunks", async () => {
    for (const [path, schema, prompt] of [
      ["/v1/chat/completions", "ChatCompletionChunk", { messages: [{ role: "user", content: "Hi" }] }],
      ["/v1/completions", "CompletionChunk", { prompt: "Hi" }],
    ] as const) {
      const sent = { ...prompt, max_tokens: 3, stream: true, stream_options: { include_usage: true } };
      const { text } = await request(service.url).post(path).send(sent);
      const chunks = [...text.matchAll(/^data: (\{.*\})$/gm)].map(([, data = ""]) => JSON.parse(data) as unknown);
      assert.ok(chunks.length >= 3);
      for (const chunk of chunks) assertBody(schema, chunk);
    }
  });

  test("says in which dialect its schemas are written", () => {
    const { jsonSchemaDialect } = published("openapi") as { jsonSchemaDialect?: string };
    assert.equal(jsonSchemaDialect, "https://json-schema.org/draft/2020-12/schema");
    for (const { payload } of Object.values(published("asyncapi").components.messages ?? {})) {
      assert.equal(payload.schemaFormat, "application/schema+json;version=draft-07");
    }
  });

  test("what comes and goes on the WebSocket of responses matches its messages", async () => {
    const socket = new WebSocket(`${service.url.replace(/^http/, "ws")}/v1/responses`);
    await once(socket, "open");
    const asked = { type: "response.create", input: "Hi", max_output_tokens: 3, stream_id: "lane" };
    assertFrame(asked);
    assert.throws(() => assertFrame({ ...asked, inputs: "Hi" }), assert.AssertionError);
    socket.send(JSON.stringify({ ...asked, max_output_tokens: -1 }));
    socket.send(JSON.stringify(asked));
    const types: string[] = [];
    for await (const [data] of on(socket, "message") as AsyncIterable<[Buffer]>) {
      const event = JSON.parse(data.toString()) as { type: string };
      assertFrame(event, event.type === "error" ? "response.error" : "response.event");
      types.push(event.type);
      if (event.type === "response.completed" || event.type === "response.incomplete") break;
    }
    assert.deepEqual(types.slice(0, 2), ["error", "response.created"]);
    socket.terminate();
  });

  test("refuses what the server refuses, and takes what it takes", () => {
    const frames: readonly (readonly [object, boolean])[] = [
      [{ type: "generate", ...greedy("a", 1) }, true],
      [{ type: "generate", id: "a", prompt: "b", stop: "c", detach: { grace_s: 1 }, priority: -1 }, true],
      [{ type: "generate", id: "a", prompt: "b", stop: ["c", "d"] }, true],
      [{ type: "generate", ...greedy("a", 1), prompt: "b" }, false],
      [{ type: "generate", id: "a" }, false],
      [{ type: "generate", ...greedy("a", 1), temprature: 1 }, false],
      [{ type: "generate", ...greedy("a/b", 1) }, false],
      [{ type: "generate", ...greedy("a", 1), stop: [""] }, false],
      [{ type: "resume", id: "a", after: 0, reader: "b" }, true],
      [{ type: "resume", id: "a" }, false],
      [{ type: "ping" }, true],
      [{ type: "ping", t: "now" }, false],
    ];
    for (const [frame, isRight] of frames) {
      const check = () => {
        assertFrame(frame);
      };
      assert.equal(clientMessage.safeParse(frame).success, isRight, JSON.stringify(frame));
      if (isRight) check();
      else assert.throws(check, assert.AssertionError, JSON.stringify(frame));
    }
  });
});
