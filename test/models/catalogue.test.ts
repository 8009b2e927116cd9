import assert from "node:assert/strict";
import { copyFile, mkdtemp, open, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { Catalogue, type CatalogueChange } from "../../src/models/catalogue.ts";
import { builtInDefinitions } from "../../src/models/catalogue/built-in.ts";
import { LlamapodError } from "../../src/protocol/errors.ts";
import { writeGguf, type GgufFile } from "../fixtures/gguf-writer.ts";
import { splitModel } from "../fixtures/split-model.ts";
import { tinyModel, tinyModelFile } from "../fixtures/tiny-models.ts";
import { serveFolder, silent } from "../support/service.ts";

describe("the catalogue", () => {
  let folder: string;
  let model: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "llamapod-catalogue-"));
    model = await tinyModel("gpt2");
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  async function scanned(): Promise<Catalogue> {
    const catalogue = new Catalogue([{ folder, isBuiltIn: false }], silent);
    await catalogue.scan();
    return catalogue;
  }

  test("the models that the project exists for are known, with a source, a licence and a context each", async () => {
    const catalogue = await scanned();
    const ids = catalogue.missing.map(({ id }) => id).sort();
    assert.deepEqual(ids, ["gemma2-9b", "gpt-sw3-6.7b", "llama3-8b", "qwen2.5-0.5b", "qwen2.5-3b", "qwen2.5-7b", "smollm2-135m"]);
    for (const [id, definition] of Object.entries(builtInDefinitions)) {
      assert.match(definition.source ?? "", /^hf:\/\/[\w.-]+\/[\w.-]+\/[\w.-]+q4_k_m\.gguf(@[0-9a-f]{40})?$/i, id);
      assert.ok(definition.licence !== undefined && definition.contextSize !== undefined, id);
    }
  });

  test("asking for one that is known and not here names the command that gets it", async () => {
    const catalogue = await scanned();
    for (const name of ["qwen2.5-7b", "QWEN2.5-7B-instruct"]) {
      await assert.rejects(catalogue.find(name), (error) => {
        assert.ok(error instanceof LlamapodError);
        assert.equal(error.code, "model_not_downloaded");
        assert.match(error.message, /llamapod pull qwen2\.5-7b \(4\.7 GB\)/);
        return true;
      });
    }
    await assert.rejects(catalogue.find("../etc/passwd"), { code: "model_not_found" });
  });

  test("a file of a known model has its id, its aliases and its file's name", async () => {
    await copyFile(model, join(folder, "Qwen2.5-0.5B-Instruct-Q4_K_M.gguf"));
    const catalogue = await scanned();
    for (const name of ["qwen2.5-0.5b", "qwen2.5-0.5b-instruct", "Qwen2.5-0.5B-Instruct-Q4_K_M"]) {
      assert.equal((await catalogue.find(name)).id, "qwen2.5-0.5b", name);
    }
    assert.ok(!catalogue.missing.some(({ id }) => id === "qwen2.5-0.5b"));
  });

  test("an edit of models.yaml changes the models that it is about, and no other", async () => {
    for (const name of ["one.gguf", "two.gguf"]) await copyFile(model, join(folder, name));
    const yaml = (context: number) =>
      writeFile(
        join(folder, "models.yaml"),
        `models:\n  one: {file: one.gguf, stop: ["END"]}\n  two: {file: two.gguf, contextSize: ${context}}\n`,
      );
    await yaml(512);
    const catalogue = await scanned();
    const changes: CatalogueChange[] = [];
    catalogue.onChange((change) => changes.push(change));
    await yaml(1_024);
    await catalogue.scan();
    assert.deepEqual(changes, [{ added: [], removed: [], changed: ["two"] }]);
  });

  test("models.yaml adds models, and changes built-in ones field by field", async () => {
    await copyFile(model, join(folder, "mine-v2.gguf"));
    await writeFile(
      join(folder, "models.yaml"),
      `models:
  mine:
    file: mine-v2.gguf
    aliases: [my-model]
    stop: ["END"]
    sampling: {temperature: 0}
  llama3-8b:
    contextSize: 1024
  gemma2-9b:
    source: https://models.example/gemma.gguf
`,
    );
    const catalogue = await scanned();
    const mine = await catalogue.find("my-model");
    assert.deepEqual([mine.id, mine.definition.stop, mine.definition.sampling], ["mine", ["END"], { temperature: 0 }]);
    const llama = catalogue.definition("llama3-8b")?.definition;
    assert.deepEqual([llama?.contextSize, llama?.sizeBytes], [1024, 4_920_734_272]);
    const gemma = catalogue.definition("gemma2-9b")?.definition;
    assert.deepEqual([gemma?.sha256, gemma?.licence?.name], [undefined, "Gemma Terms of Use"], "another file has another digest");
  });

  const wrongYaml = [
    { what: "no YAML", text: "models: {", says: /models\.yaml cannot be used/ },
    { what: "an unknown field", text: "models: {a: {fiel: x.gguf}}", says: /models\.a.*fiel/ },
    { what: "a path for a file", text: "models: {a: {file: ../../etc/x.gguf}}", says: /models\.a\.file.*without a path/ },
    { what: "an id that is a path", text: "models: {../a: {file: x.gguf}}", says: /models/ },
    { what: "a digest that is none", text: "models: {a: {sha256: abc}}", says: /models\.a\.sha256.*64 hex/ },
  ];
  for (const { what, text, says } of wrongYaml) {
    test(`models.yaml with ${what}: a complaint that names it, and everything else goes on`, async () => {
      await copyFile(model, join(folder, "good.gguf"));
      await writeFile(join(folder, "models.yaml"), text);
      const catalogue = await scanned();
      assert.match(catalogue.complaints.join(), says);
      assert.equal((await catalogue.find("good")).id, "good");
    });
  }

  test("of two sources the first one's model counts, and an entry knows where it is from", async () => {
    const own = await mkdtemp(join(tmpdir(), "llamapod-own-"));
    await copyFile(model, join(folder, "demo.gguf"));
    await copyFile(model, join(folder, "both.gguf"));
    await copyFile(model, join(own, "both.gguf"));
    const catalogue = new Catalogue(
      [
        { folder: own, isBuiltIn: false },
        { folder, isBuiltIn: true },
      ],
      silent,
    );
    await catalogue.scan();
    assert.deepEqual(
      catalogue.entries.map(({ id, isBuiltIn }) => [id, isBuiltIn]),
      [
        ["both", false],
        ["demo", true],
      ],
    );
    assert.deepEqual(catalogue.complaints, []);
    await rm(own, { recursive: true });
  });

  test("what a source says of its models holds unless models.yaml says otherwise, and makes none of them one to be pulled", async () => {
    await copyFile(model, join(folder, "demo.gguf"));
    const own = await mkdtemp(join(tmpdir(), "llamapod-own-"));
    const source = { folder, isBuiltIn: true, defaults: { sampling: { temperature: 0 } } };
    const catalogue = new Catalogue([{ folder: own, isBuiltIn: false }, source], silent);
    await catalogue.scan();
    assert.deepEqual(catalogue.get("demo")?.definition.sampling, { temperature: 0 });
    assert.equal(catalogue.definition("demo"), undefined);
    await writeFile(join(own, "models.yaml"), "models: {demo: {sampling: {temperature: 1}}}");
    await catalogue.scan();
    assert.deepEqual(catalogue.get("demo")?.definition.sampling, { temperature: 1 });
    await rm(own, { recursive: true });
  });

  test("a reload keeps the entries of what has not changed, and reads what has been replaced", async () => {
    await copyFile(model, join(folder, "same.gguf"));
    await writeFile(join(folder, "replaced.gguf"), "nothing yet");
    const catalogue = await scanned();
    const before = new Map(catalogue.entries.map((entry) => [entry.id, entry]));
    assert.ok(before.get("replaced")?.header instanceof LlamapodError);
    const changes: CatalogueChange[] = [];
    catalogue.onChange((change) => changes.push(change));

    await copyFile(model, join(folder, ".new"));
    await rename(join(folder, ".new"), join(folder, "replaced.gguf"));
    await catalogue.scan();
    assert.equal(catalogue.get("same"), before.get("same"));
    assert.ok(!(catalogue.get("replaced")?.header instanceof LlamapodError));
    await catalogue.scan();
    assert.deepEqual(changes, [{ added: [], removed: [], changed: ["replaced"] }]);
  });

  test("a split model is one, and is unusable while a part is missing or is another model's", async () => {
    const write = async (name: string, part: GgufFile) => writeGguf(join(folder, name), part);
    const [first, second] = splitModel("big", await tinyModelFile("gpt2"), 2);
    assert.ok(first !== undefined && second !== undefined);
    await write(...first);
    const catalogue = await scanned();
    assert.deepEqual(
      catalogue.entries.map(({ id }) => id),
      ["big"],
    );
    const why = async () => {
      await catalogue.scan();
      const header = catalogue.get("big")?.header;
      return header instanceof LlamapodError ? header.message : undefined;
    };
    assert.match((await why()) ?? "", /^big-00002-of-00002\.gguf is missing: .* one of 2 parts/);
    await write("big-00002-of-00002.gguf", first[1]);
    assert.match((await why()) ?? "", /^big-00002-of-00002\.gguf says of itself that it is part 1 of 2/);
    await copyFile(model, join(folder, "big-00002-of-00002.gguf"));
    assert.match((await why()) ?? "", /^big-00002-of-00002\.gguf says of itself that it is part 1 of 1/);
    await write("big-00002-of-00002.gguf", { ...second[1], tensors: second[1].tensors.slice(1) });
    assert.match((await why()) ?? "", /^big-00001-of-00002\.gguf announces (\d+) tensors, and its parts have \d+/);
    await write(...second);
    assert.equal(await why(), undefined);
    const { header } = await catalogue.find("big");
    assert.ok(!(header instanceof LlamapodError));
    const sizes = await Promise.all([first, second].map(async ([name]) => (await stat(join(folder, name))).size));
    assert.equal(header.fileBytes, (sizes[0] ?? 0) + (sizes[1] ?? 0));
  });

  test("a watched folder: what comes in is announced when it is whole, and what goes is too", async () => {
    // Watching alone keeps no process running.
    const running = setInterval(() => undefined, 1_000);
    using catalogue = await scanned();
    const changes: CatalogueChange[] = [];
    let told: () => void = () => undefined;
    catalogue.onChange((change) => {
      changes.push(change);
      told();
    });
    const next = () => new Promise<void>((resolve) => (told = resolve));
    catalogue.watch();

    const announced = next();
    const content = await readFile(model);
    await using file = await open(join(folder, "late.gguf"), "w");
    // Looks whole by its size long before it is.
    await file.truncate(content.length);
    for (let offset = 0; offset < content.length; offset += 64 * 1024) {
      await file.write(content, offset, Math.min(64 * 1024, content.length - offset), offset);
      assert.deepEqual(changes, []);
    }
    const longAgo = new Date(Date.now() - 60_000);
    await utimes(join(folder, "late.gguf"), longAgo, longAgo);
    await announced;
    assert.deepEqual(changes, [{ added: ["late"], removed: [], changed: [] }]);
    assert.ok(!(catalogue.get("late")?.header instanceof LlamapodError));

    const gone = next();
    await rm(join(folder, "late.gguf"));
    await gone;
    assert.deepEqual(changes[1], { added: [], removed: ["late"], changed: [] });
    clearInterval(running);
  });
});

test("the stop strings and sampling of models.yaml are those of requests that say nothing", async () => {
  const folder = await mkdtemp(join(tmpdir(), "llamapod-defaults-"));
  await copyFile(await tinyModel("llama"), join(folder, "tiny.gguf"));
  await using service = await serveFolder(folder, {});
  const free = await chat(service.url, { temperature: 0, max_tokens: 24 });
  assert.ok(free.length > 4, free);
  const stop = free.slice(2, 4);

  await writeFile(
    join(folder, "models.yaml"),
    JSON.stringify({ models: { tiny: { stop: [stop], sampling: { temperature: 0 } } } }),
  );
  // Known before the next request by whoever asks for a model that is not there.
  await fetch(`${service.url}/v1/models/unknown`);
  assert.equal(await chat(service.url, { max_tokens: 24 }), free.slice(0, free.indexOf(stop)));
});

test("a request for a model that is not downloaded is told how to get it", async () => {
  await using service = await serveFolder(await mkdtemp(join(tmpdir(), "llamapod-none-")), {});
  const response = await fetch(`${service.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model: "gemma2-9b", messages: [{ role: "user", content: "x" }] }),
  });
  const body = (await response.json()) as { error: { code: string; message: string } };
  assert.deepEqual([response.status, body.error.code], [404, "model_not_downloaded"]);
  assert.match(body.error.message, /llamapod pull gemma2-9b/);
});

async function chat(url: string, fields: object): Promise<string> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ messages: [{ role: "user", content: "Hello" }], ...fields }),
  });
  const body = (await response.json()) as { choices: { message: { content: string } }[] };
  return body.choices[0]?.message.content ?? "";
}
