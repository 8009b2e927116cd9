import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Ajv } from "ajv";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";

interface Published {
  readonly components: {
    readonly messages?: Readonly<
      Record<string, { readonly payload: { readonly schemaFormat: string; readonly schema: object } }>
    >;
    readonly schemas?: Readonly<Record<string, object>>;
  };
}

/** The files as they are published, not as the code would make them. */
export function published(name: "openapi" | "asyncapi"): Published {
  return JSON.parse(readFileSync(new URL(`../../../docs/${name}.json`, import.meta.url), "utf8")) as Published;
}

const options = { strict: false, validateFormats: false };
/** For the dialect of each document. */
const ajv = { openapi: new Ajv2020(options), asyncapi: new Ajv(options) } as const;
const compiled = new Map<string, ValidateFunction>();

/** Against the schema of a frame's type, or of another message, in docs/asyncapi.json. */
export function assertFrame(frame: unknown, message = (frame as { type: string }).type): void {
  assertMatches("asyncapi", message, ({ messages }) => messages?.[message]?.payload.schema, frame);
}

/** Against a schema in docs/openapi.json. */
export function assertBody(schema: string, body: unknown): void {
  assertMatches("openapi", schema, ({ schemas }) => schemas?.[schema], body);
}

type Find = (components: Published["components"]) => object | undefined;

function assertMatches(document: "openapi" | "asyncapi", name: string, find: Find, value: unknown): void {
  const key = `${document} ${name}`;
  let validate = compiled.get(key);
  if (validate === undefined) {
    const found = find(published(document).components);
    assert.ok(found !== undefined, `${key} is not published`);
    validate = ajv[document].compile(found);
    compiled.set(key, validate);
  }
  assert.ok(validate(value), `${ajv[document].errorsText(validate.errors)} in ${JSON.stringify(value)}`);
}
