import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { Ajv, type ValidateFunction } from "ajv";
import { z } from "zod";
import { asUser, buildEnvironment, image, podman, skip } from "./podman.ts";

/** Longer than a build from nothing takes on a machine that is busy with other tests. */
const buildPatienceMs = 280_000;

const bom = z.object({
  metadata: z.object({ component: z.object({ name: z.string(), version: z.string() }) }),
  components: z.array(z.object({ name: z.string(), version: z.string(), purl: z.string(), "bom-ref": z.string().optional() })),
});
const ourPackage = z.object({ version: z.string(), dependencies: z.record(z.string(), z.string()) });

const json = async (path: string): Promise<unknown> => JSON.parse(await readFile(path, "utf8"));

/** CycloneDX's own schema, of the version that we write. */
async function cycloneDx(): Promise<ValidateFunction> {
  const ajv = new Ajv({ strict: false, validateFormats: false });
  const schema = async (name: string) =>
    z.looseObject({}).parse(await json(`node_modules/@cyclonedx/cyclonedx-library/res/schema/${name}.SNAPSHOT.schema.json`));
  // It names the others by their files.
  for (const name of ["spdx", "jsf-0.82"])
    ajv.addSchema(await schema(name), `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`);
  return ajv.compile(await schema("bom-1.6"));
}

describe("image.sh", { skip }, () => {
  test("sbom is CycloneDX, and names what the image holds and nothing else", async () => {
    const { code, stdout, stderr } = await asUser(["deploy/podman/image.sh", "sbom"]);
    assert.equal(code, 0, stderr);
    const written: unknown = JSON.parse(stdout);
    const isValid = await cycloneDx();
    assert.ok(isValid(written), JSON.stringify(isValid.errors));
    const { metadata, components } = bom.parse(written);
    const { version, dependencies } = ourPackage.parse(await json("package.json"));
    assert.deepEqual(metadata.component, { ...metadata.component, name: "llamapod", version });
    const purls = new Set(components.map(({ purl }) => purl.replace(/\?.*$/, "")));
    const engine = dependencies["node-llama-cpp"] ?? "";
    for (const name of ["node-llama-cpp", "%40node-llama-cpp/linux-x64"]) assert.ok(purls.has(`pkg:npm/${name}@${engine}`), name);
    assert.ok(components.some(({ name, purl }) => name === "libc6" && purl.startsWith("pkg:deb/debian/")));
    assert.ok(components.some(({ name, version: of }) => name === "node" && /^\d+\.\d+\.\d+$/.test(of)));
    const listed = await podman("run", "--rm", "--network=none", "--entrypoint", "ls", image, "/app/node_modules");
    const installed = listed.split("\n").filter((name) => !name.startsWith("@"));
    assert.deepEqual(
      installed.filter((name) => !components.some((component) => component.name === name)),
      [],
    );
    assert.ok(!components.some(({ name }) => name === "typescript"));
    const references = components.flatMap((component) => component["bom-ref"] ?? []);
    assert.equal(new Set(references).size, references.length);
  });

  test("build gives the same layers again, of the same sources and date, without what was kept of the first", async () => {
    const again = "localhost/llamapod-test/again:cpu";
    const layers = async (name: string) =>
      JSON.parse(await podman("image", "inspect", "--format", "{{json .RootFS.Layers}}", name)) as unknown;
    const build = ["deploy/podman/image.sh", "build", "--no-cache", "--tag", again];
    const { code, stderr } = await asUser(build, buildEnvironment, buildPatienceMs);
    assert.equal(code, 0, stderr);
    assert.deepEqual(await layers(again), await layers(image));
    await podman("rmi", again);
  });
});
