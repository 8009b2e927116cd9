import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";

interface Published {
  readonly components: {
    readonly messages?: Readonly<Record<string, { readonly payload: object }>>;
    readonly schemas?: Readonly<Record<string, object>>;
  };
}

/** The files as they are published, not as the code would make them. */
export function published(name: "openapi" | "asyncapi"): Published {
  return JSON.parse(readFileSync(new URL(`../../../docs/${name}.json`, import.meta.url), "utf8")) as Published;
}

const ajv = new Ajv2020({ strict: false, validateFormats: false });
const compiled = new Map<string, ValidateFunction>();

/** Against the schema of a frame's type in docs/asyncapi.json. */
export function assertFrame(frame: unknown): void {
  const { type } = frame as { type: string };
  assertMatches(`asyncapi ${type}`, () => published("asyncapi").components.messages?.[type]?.payload, frame);
}

/** Against a schema in docs/openapi.json. */
export function assertBody(schema: string, body: unknown): void {
  assertMatches(`openapi ${schema}`, () => published("openapi").components.schemas?.[schema], body);
}

function assertMatches(name: string, schema: () => object | undefined, value: unknown): void {
  let validate = compiled.get(name);
  if (validate === undefined) {
    const found = schema();
    assert.ok(found !== undefined, `${name} is not published`);
    validate = ajv.compile(found);
    compiled.set(name, validate);
  }
  assert.ok(validate(value), `${ajv.errorsText(validate.errors)} in ${JSON.stringify(value)}`);
}
