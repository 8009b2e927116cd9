import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { after, describe, test } from "node:test";
import { asUser, podman, skip } from "./podman.ts";

const name = "llamapod-test-codes";
const port = 18_092;

const script = (file: string, ...args: readonly string[]) =>
  asUser([`deploy/podman/${file}`, "--port", String(port), ...args], { LLAMAPOD_NAME: name });

describe("what the engine's exit codes mean", { skip }, () => {
  after(async () => {
    await podman("rm", "--force", "--time", "1", "--ignore", name);
    await podman("volume", "rm", "--force", `${name}-data`);
  });

  test("126, a port that somebody else has: said, with how to find out who", async () => {
    const somebody = createServer().listen(port, "127.0.0.1");
    await once(somebody, "listening");
    const { code, stderr } = await script("start.sh", "--engine", "podman", "--gpu", "off");
    somebody.close();
    await once(somebody, "close");
    assert.equal(code, 126, stderr);
    assert.match(stderr, /The port is taken.*ss -ltnp/);
  });

  test("137, a container that was killed: said, with what kills one", async () => {
    assert.equal((await script("start.sh", "--engine", "podman", "--gpu", "off")).code, 0);
    await podman("kill", "--signal", "KILL", name);
    await podman("wait", name);
    const { code, stdout, stderr } = await script("status.sh");
    assert.equal(code, 4);
    assert.match(stdout, /exited, exit code 137/);
    assert.match(stderr, /The container was killed \(exit code 137\): out of memory/);
  });
});
