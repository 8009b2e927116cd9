/** Writes the published contract as the schemas have it: docs/openapi.json and docs/asyncapi.json. A test compares them. */
import { writeFileSync } from "node:fs";
import { asyncapi } from "../dist/src/server/contract/asyncapi.js";
import { openapi } from "../dist/src/server/contract/openapi.js";
import { version } from "../dist/src/version.js";

for (const [name, document] of Object.entries({ openapi: openapi(version), asyncapi: asyncapi(version) })) {
  writeFileSync(new URL(`../docs/${name}.json`, import.meta.url), `${JSON.stringify(document, null, 2)}\n`);
}
