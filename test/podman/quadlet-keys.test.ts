import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { keys, sections, variables } from "./quadlet-keys.ts";

const folder = fileURLToPath(new URL("../../../deploy/podman/quadlet/", import.meta.url));

/** The sections that are systemd's own, and are checked by `systemd-analyze verify`. */
const ofSystemd = new Set(["Unit", "Service", "Socket", "Install"]);

const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) =>
  /\.(container|volume|network|image|pod|build|conf)$/.test(file),
);

/** What a unit or a drop-in sets: section, key and value of every line. */
function settings(file: string): { readonly section: string; readonly key: string; readonly value: string }[] {
  let section = "";
  return readFileSync(folder + file, "utf8")
    .split("\n")
    .flatMap((line) => {
      const heading = /^\[(\w+)\]$/.exec(line);
      if (heading?.[1] !== undefined) section = heading[1];
      const setting = /^(\w+)=(.*)$/.exec(line);
      return setting?.[1] === undefined ? [] : [{ section, key: setting[1], value: setting[2] ?? "" }];
    });
}

function since(section: string, key: string): string | undefined {
  return Object.entries(keys[section] ?? {}).find(([, names]) => names.includes(key))?.[0];
}

const isLater = (version: string, limit: string) => version.localeCompare(limit, "en", { numeric: true }) > 0;

test("the folder has units and drop-ins", () => {
  assert.ok(files.includes("llamapod@.container"), files.join(" "));
  assert.ok(files.filter((file) => file.endsWith(".conf")).length >= 4, files.join(" "));
});

test("a probe that kills asks whether the server works, and the one that ends a start whether the model answers", () => {
  const set = new Map(settings("llamapod@.container").map(({ key, value }) => [key, value]));
  assert.equal(set.get("HealthOnFailure"), "kill");
  assert.match(set.get("HealthCmd") ?? "", / \/health\/live$/);
  assert.match(set.get("HealthStartupCmd") ?? "", /\/healthcheck$/);
});

for (const file of files) {
  // Whoever has a unit build the image has Podman 5.2.
  const baseline = file.includes("build") ? "5.2" : "5.0";
  test(`${file} has nothing that Podman ${baseline} does not take`, () => {
    for (const { section, key, value } of settings(file)) {
      if (ofSystemd.has(section)) continue;
      assert.ok(section in sections, `[${section}] is no section of Quadlet's`);
      const version = since(section, key);
      assert.ok(
        version !== undefined,
        `[${section}] ${key}: unknown; if it is right, add it to quadlet-keys.ts with its release`,
      );
      assert.ok(!isLater(version, baseline), `[${section}] ${key} came with Podman ${version}`);
      const takesVariables = variables[key];
      assert.ok(
        takesVariables === undefined || !value.includes("$") || !isLater(takesVariables, baseline),
        `[${section}] ${key}=${value}: a variable there came with Podman ${takesVariables ?? ""}`,
      );
    }
  });
}
