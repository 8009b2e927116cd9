import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import request from "supertest";
import { ChatTemplate } from "../../src/models/runner/chat-template.ts";
import { LlamapodError } from "../../src/protocol/errors.ts";
import { endlessTemplate, modelWithTemplate } from "../fixtures/hostile.ts";
import { modelsFolder, serveFolder } from "../support/service.ts";

const marker = join(tmpdir(), `llamapod-escaped-${process.pid}`);
const touch = `require('node:fs').writeFileSync('${marker}', '')`;

/** Ways out of a template, into Python where Jinja is at home, or into JavaScript where it runs here. */
const escapes = [
  "{{ ''.__class__ }}",
  "{{ ''.__class__.__mro__[1].__subclasses__() }}",
  `{{ self.__init__.__globals__.__builtins__.__import__('os').system('touch ${marker}') }}`,
  `{{ cycler.__init__.__globals__.os.popen('touch ${marker}').read() }}`,
  `{{ messages.constructor.constructor("${touch}")() }}`,
  `{{ ''['constructor']['constructor']("${touch}")() }}`,
  `{{ raise_exception.constructor("${touch}")() }}`,
  `{{ (messages | map(attribute='constructor') | first)("${touch}") }}`,
  "{{ messages['__proto__'] }}",
  "{% set messages.__proto__.polluted = 'yes' %}",
  "{{ process.env }}",
  "{{ globalThis }}",
  "{% include '/etc/passwd' %}",
  "{% import 'os' as os %}{{ os }}",
];

for (const escape of escapes) {
  test(`a template that tries to get out (CVE-2024-34359): ${escape.replaceAll(marker, "FILE")}`, () => {
    const wrong = (thrown: unknown) => assert.ok(thrown instanceof LlamapodError && thrown.code === "template_error");
    try {
      const template = new ChatTemplate(`${escape}{{ messages[0]['content'] }}`, { beginText: "", endText: "" });
      const rendered = template.render([{ role: "user", content: "hello" }]);
      assert.match(rendered, /^[^]{0,40}hello$/);
      assert.doesNotMatch(rendered, /native code|root:|object Object|PATH/);
    } catch (thrown) {
      wrong(thrown);
    }
    assert.ok(!existsSync(marker), "it has run a command");
    assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
  });
}

test(
  "a template that is harmless until it is asked the wrong thing: the runner is killed, the server lives",
  {
    timeout: 120_000,
  },
  async () => {
    const path = join(await mkdtemp(join(tmpdir(), "llamapod-template-")), "sly.gguf");
    const sly = `{% if messages[0]['content'] == 'loop' %}${endlessTemplate}{% endif %}{{ messages[0]['content'] }}`;
    await modelWithTemplate(path, sly);
    const folder = await modelsFolder({});
    await symlink(path, join(folder, "sly.gguf"));
    await using service = await serveFolder(folder, { model: "sly" });
    const ask = (content: string) =>
      request(service.url)
        .post("/v1/chat/completions")
        .send({ messages: [{ role: "user", content }], max_tokens: 1 });
    assert.equal((await ask("hello")).status, 200);
    const looped = await ask("loop");
    assert.deepEqual([looped.status, (looped.body as { error: { code: string } }).error.code], [502, "runner_crashed"]);
    assert.equal((await ask("hello again")).status, 200);
  },
);
