import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  access,
  copyFile,
  link,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import type { ModelDefinition } from "../../src/models/catalogue.ts";
import { DownloadError, type DownloadFailure } from "../../src/models/download/errors.ts";
import { pullModel, type PulledModel, type PullProgress, type PullRequest } from "../../src/models/download/pull.ts";
import type { DownloadSettings } from "../../src/models/download/settings.ts";
import { writeGguf } from "../fixtures/gguf-writer.ts";
import { splitModel } from "../fixtures/split-model.ts";
import { tinyModel, tinyModelFile } from "../fixtures/tiny-models.ts";
import { FileServer } from "../support/file-server.ts";

const rangeBytes = 128 * 1024;

describe("pulling a model", () => {
  let folder: string;
  let server: FileServer;
  let content: Buffer;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "llamapod-pull-"));
    server = await FileServer.start();
    content = await readFile(await tinyModel("gpt2"));
  });
  afterEach(async () => {
    await server[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  interface Options extends Partial<Pick<PullRequest, "localFile" | "existing" | "folder">> {
    readonly definition?: ModelDefinition;
    readonly signal?: AbortSignal;
    readonly token?: string;
    readonly onProgress?: (progress: PullProgress) => void;
  }

  function pull(source: string, options: Options = {}): Promise<PulledModel> {
    const { definition = {}, signal = new AbortController().signal, localFile = "copy", existing = "keep" } = options;
    const settings: DownloadSettings = {
      huggingFace: new URL(server.url),
      huggingFaceToken: options.token,
      connections: 3,
      rangeBytes,
      retryPauseMs: 1,
    };
    const request = { source, definition, folder: options.folder ?? folder, localFile, existing };
    return pullModel({ request, settings, signal, onProgress: options.onProgress ?? (() => undefined) });
  }

  async function refused(pulling: Promise<unknown>, failure: DownloadFailure, message: RegExp): Promise<void> {
    await assert.rejects(pulling, (error) => {
      assert.ok(error instanceof DownloadError, String(error));
      assert.equal(error.failure, failure, error.message);
      assert.match(error.message, message);
      return true;
    });
    assert.deepEqual(await listed(), [], "nothing is listed that is not whole");
  }

  async function listed(): Promise<string[]> {
    return (await readdir(folder)).filter((name) => name.endsWith(".gguf"));
  }

  async function isThere(path: string): Promise<boolean> {
    return access(path).then(
      () => true,
      () => false,
    );
  }

  test("ranges come at the same time, and the file is the one that was asked for", async () => {
    server.files.set("/m.gguf", { content });
    const { path, files } = await pull(`${server.url}/m.gguf`);
    assert.equal(path, join(folder, "m.gguf"));
    assert.ok((await readFile(path)).equals(content));
    assert.equal(files[0]?.sha256, sha256(content));
    const ranges = server.requests.slice(1).map(({ range }) => range);
    assert.equal(ranges.length, Math.ceil(content.length / rangeBytes));
    assert.deepEqual(await readdir(join(folder, ".llamapod")), ["m.gguf.pulled"], "nothing is left over");
  });

  test("a second pull of the same file asks for nothing more", async () => {
    server.files.set("/m.gguf", { content });
    await pull(`${server.url}/m.gguf`);
    const requests = server.requests.length;
    assert.equal((await pull(`${server.url}/m.gguf`)).wasHere, true);
    assert.equal(server.requests.length, requests);
  });

  test("what was stopped goes on where it was", async () => {
    server.files.set("/m.gguf", { content, chunkDelayMs: 1 });
    const stopping = new AbortController();
    const onProgress = ({ phase, bytes }: PullProgress) => {
      if (phase === "downloading" && bytes > content.length / 2) stopping.abort();
    };
    await refused(pull(`${server.url}/m.gguf`, { signal: stopping.signal, onProgress }), "cancelled", /takes it up again/);
    assert.ok(await isThere(join(folder, ".llamapod", "m.gguf.json")));
    server.bytesSent = 0;
    server.files.set("/m.gguf", { content });
    const { path } = await pull(`${server.url}/m.gguf`);
    assert.ok((await readFile(path)).equals(content));
    assert.ok(server.bytesSent < content.length * 0.6, `${server.bytesSent} of ${content.length} bytes were sent again`);
  });

  test("what was stopped while it was checked is checked again, not fetched again", async () => {
    server.files.set("/m.gguf", { content });
    const stopping = new AbortController();
    const onProgress = ({ phase }: PullProgress) => {
      if (phase === "verifying") stopping.abort();
    };
    await refused(pull(`${server.url}/m.gguf`, { signal: stopping.signal, onProgress }), "cancelled", /takes it up again/);
    server.bytesSent = 0;
    const { path } = await pull(`${server.url}/m.gguf`);
    assert.ok((await readFile(path)).equals(content));
    assert.equal(server.bytesSent, 1, "the byte that is asked for to learn of the file");
    assert.deepEqual(await readdir(join(folder, ".llamapod")), ["m.gguf.pulled"], "nothing is left over");
  });

  test("a file that has another etag by now is begun anew", async () => {
    server.files.set("/m.gguf", { content: Buffer.alloc(content.length, 1), chunkDelayMs: 1, etag: '"old"' });
    const stopping = new AbortController();
    const onProgress = ({ bytes }: PullProgress) => {
      if (bytes > content.length / 2) stopping.abort();
    };
    await refused(pull(`${server.url}/m.gguf`, { signal: stopping.signal, onProgress }), "cancelled", /stopped/);
    server.files.set("/m.gguf", { content, etag: '"new"' });
    assert.ok((await readFile((await pull(`${server.url}/m.gguf`)).path)).equals(content));
  });

  test("connections that are reset are made again", async () => {
    server.files.set("/m.gguf", { content, resetAfter: 60_000 });
    assert.ok((await readFile((await pull(`${server.url}/m.gguf`)).path)).equals(content));
  });

  test("a source without ranges gives the file in one piece", async () => {
    server.files.set("/m.gguf", { content, ranges: "none" });
    assert.ok((await readFile((await pull(`${server.url}/m.gguf`)).path)).equals(content));
  });

  test("two pulls of one file at the same time: it comes once, and the second one waits", async () => {
    server.files.set("/m.gguf", { content, chunkDelayMs: 1 });
    const phases: string[] = [];
    const results = await Promise.all([
      pull(`${server.url}/m.gguf`),
      pull(`${server.url}/m.gguf`, { onProgress: ({ phase }) => phases.push(phase) }),
    ]);
    assert.deepEqual(results.map(({ wasHere }) => wasHere).sort(), [false, true]);
    assert.ok(server.bytesSent < content.length * 1.5);
    assert.ok((await readFile(results[0].path)).equals(content));
  });

  test("another digest than the catalogue's: refused, and not kept", async () => {
    server.files.set("/m.gguf", { content });
    const definition = { sha256: "0".repeat(64) };
    await refused(pull(`${server.url}/m.gguf`, { definition }), "damaged", /0000.*|sha256/);
    assert.deepEqual(await readdir(join(folder, ".llamapod")), []);
  });

  test("another size than the catalogue's: refused before anything comes", async () => {
    server.files.set("/m.gguf", { content });
    await refused(pull(`${server.url}/m.gguf`, { definition: { sizeBytes: 5 } }), "damaged", /5 bytes.*918688/);
  });

  test("what is no GGUF file is not listed", async () => {
    server.files.set("/m.gguf", { content: Buffer.from("<html>Please log in</html>") });
    await refused(pull(`${server.url}/m.gguf`), "damaged", /m\.gguf.*letters GGUF/);
    assert.deepEqual(await readdir(join(folder, ".llamapod")), [], "nor kept");
  });

  test("a source that sends less than it says, again and again", async () => {
    server.files.set("/m.gguf", { content, claimedSize: content.length + 10 });
    await refused(pull(`${server.url}/m.gguf`), "unreachable", /broke off.*takes it up again/);
  });

  test("the digest of the first pull counts for the next one", async () => {
    server.files.set("/m.gguf", { content });
    await pull(`${server.url}/m.gguf`);
    const other = Buffer.from(content);
    other.writeUInt8(other.readUInt8(other.length - 1) ^ 1, other.length - 1);
    server.files.set("/m.gguf", { content: other, etag: '"2"' });
    await assert.rejects(pull(`${server.url}/m.gguf`, { existing: "again" }), /the first download says/);
    assert.ok((await readFile(join(folder, "m.gguf"))).equals(content), "the good one stays");
  });

  test("more than the disk holds: refused, with both numbers", async () => {
    server.files.set("/m.gguf", { content, claimedSize: 2 ** 50 });
    await refused(pull(`${server.url}/m.gguf`), "no_space", /1125899906842624 bytes more.*free/);
  });

  test("a redirect to a private address is not followed", async () => {
    await using internal = await FileServer.start();
    internal.files.set("/secret.gguf", { content });
    for (const location of [
      `${internal.url}/secret.gguf`,
      "http://169.254.169.254/latest",
      "http://[::1]:9/",
      "http://[::ffff:10.0.0.1]/",
      "http://localhost:9/x.gguf",
      server.url.replace("http:", "https:"),
      "https://127.0.0.1/x.gguf",
    ]) {
      server.files.set("/m.gguf", { content, status: 302, headers: { Location: location } });
      await refused(pull(`${server.url}/m.gguf`), "denied", /not a public address/);
    }
    assert.deepEqual(internal.requests, []);
  });

  test("a redirect to something else than the web is not followed", async () => {
    for (const location of ["file:///etc/passwd", "ftp://198.51.100.1/x.gguf"]) {
      server.files.set("/m.gguf", { content, status: 302, headers: { Location: location } });
      await refused(pull(`${server.url}/m.gguf`), "denied", /only https/);
    }
  });

  test("a redirect on the same host is followed, and one that never ends is not", async () => {
    server.files.set("/m.gguf", { content, status: 302, headers: { Location: "/real.gguf" } });
    server.files.set("/real.gguf", { content });
    await pull(`${server.url}/m.gguf`);
    server.files.set("/loop.gguf", { content, status: 302, headers: { Location: "/loop.gguf" } });
    await assert.rejects(pull(`${server.url}/loop.gguf`), /redirects more than/);
  });

  for (const status of [401, 403]) {
    test(`a gated model, status ${status}: the page of the licence, and what to set`, async () => {
      server.files.set("/owner/model/resolve/main/m.gguf", { content, status });
      await refused(pull("hf://owner/model/m.gguf"), "denied", new RegExp(`${server.url}/owner/model.*HF_TOKEN`));
      await refused(pull("hf://owner/model/m.gguf", { token: "hf_x" }), "denied", /Accept the licence at .*owner\/model/);
      assert.deepEqual([server.requests[0]?.authorization, server.requests[1]?.authorization], [undefined, "Bearer hf_x"]);
    });
  }

  test("a quantisation is found in the listing of the repository, split files as one", async () => {
    const listing = [
      { type: "file", path: "m-Q8_0.gguf", size: 1 },
      {
        type: "file",
        path: "m-Q4_K_M-00001-of-00002.gguf",
        size: content.length,
        lfs: { oid: sha256(content), size: content.length },
      },
      { type: "file", path: "m-Q4_K_M-00002-of-00002.gguf", size: content.length },
    ];
    server.files.set("/api/models/owner/model/tree/main?recursive=true", { content: Buffer.from(JSON.stringify(listing)) });
    for (const { path } of listing) server.files.set(`/owner/model/resolve/main/${path}`, { content });
    const { files } = await pull("owner/model:Q4_K_M");
    assert.deepEqual(
      files.map(({ path }) => path),
      [1, 2].map((part) => join(folder, `m-Q4_K_M-0000${part}-of-00002.gguf`)),
    );
    await assert.rejects(pull("owner/model:Q2_K"), /no GGUF file for Q2_K.*m-Q8_0\.gguf/);
    await assert.rejects(pull("owner/other"), /no repository owner\/other/);
  });

  for (const status of [429, 500, 503]) {
    test(`a listing that is answered with status ${status} is asked for again, and not for ever`, async () => {
      const listing = "/api/models/owner/model/tree/main?recursive=true";
      server.files.set(listing, { content: Buffer.alloc(0), status });
      await refused(pull("owner/model"), "unreachable", new RegExp(`answers with status ${status}.*tried 6 times`));
      assert.equal(server.requests.length, 6);
    });
  }

  test("a link that was stopped before it was listed is not written through by the next pull", async () => {
    const path = await tinyModel("gpt2");
    const stopping = new AbortController();
    const onProgress = ({ phase }: PullProgress) => {
      if (phase === "verifying") stopping.abort();
    };
    const definition = { file: "mine.gguf" };
    const linking = pull(path, { localFile: "link", definition, signal: stopping.signal, onProgress });
    await assert.rejects(linking, { failure: "cancelled" });
    await pull(path, { definition });
    assert.ok((await readFile(path)).equals(content), "the user's own file is as it was");
    assert.ok((await readFile(join(folder, "mine.gguf"))).equals(content));
  });

  for (const localFile of ["copy", "link"] as const) {
    test(`a ${localFile} that was stopped is not gone on with as the download of that name that was stopped before it`, async () => {
      const stopped = async (source: string, phase: PullProgress["phase"]) => {
        const stopping = new AbortController();
        const onProgress = (progress: PullProgress) => {
          if (progress.phase === phase && progress.bytes > 0) stopping.abort();
        };
        const stopIt = { localFile, definition: { file: "m.gguf" }, signal: stopping.signal, onProgress };
        await refused(pull(source, stopIt), "cancelled", /stopped/);
      };
      server.files.set("/m.gguf", { content, chunkDelayMs: 1 });
      await stopped(`${server.url}/m.gguf`, "downloading");
      await stopped(await tinyModel("llama"), "verifying");
      assert.ok((await readFile((await pull(`${server.url}/m.gguf`)).path)).equals(content));
    });
  }

  test("what the catalogue says of a single file is not held against the parts of a split model", async () => {
    const definition = { sha256: "0".repeat(64), sizeBytes: 1 };
    const parts = join(folder, "source");
    await mkdir(parts);
    for (const [name, part] of splitModel("m", await tinyModelFile("gpt2"), 2)) await writeGguf(join(parts, name), part);
    const { files } = await pull(join(parts, "m-00001-of-00002.gguf"), { definition });
    assert.equal(files.length, 2);
  });

  describe("a split model", () => {
    const names = [1, 2, 3].map((number) => `m-Q4_0-0000${number}-of-00003.gguf`);
    const [one = "", two = "", three = ""] = names;
    const source = "owner/model:Q4_0";
    let parts: Buffer[];

    beforeEach(() => {
      const padded = (number: number) => Buffer.concat([content, Buffer.alloc(number)]);
      parts = [1, 2, 3].map(padded);
      offer(names);
    });

    /** With the digests of the parts as they should be. */
    function offer(listed: readonly string[]): void {
      const listing = names.map((path, index) => {
        const part = parts[index] ?? Buffer.alloc(0);
        server.files.set(`/owner/model/resolve/main/${path}`, { content: part });
        return { type: "file", path, size: part.length, lfs: { oid: sha256(part), size: part.length } };
      });
      const shown = Buffer.from(JSON.stringify(listing.filter(({ path }) => listed.includes(path))));
      server.files.set("/api/models/owner/model/tree/main?recursive=true", { content: shown });
    }

    function damage(name: string): void {
      const part = Buffer.from(parts[names.indexOf(name)] ?? "");
      part.writeUInt8(part.readUInt8(part.length - 9) ^ 1, part.length - 9);
      server.files.set(`/owner/model/resolve/main/${name}`, { content: part });
    }

    const asked = () => [...new Set(server.requests.map(({ path }) => path.split("/").at(-1)))];
    const contents = () => Promise.all(names.map((name) => readFile(join(folder, name))));

    test("one damaged part: nothing is listed, and the next pull fetches that one and what had not come", async () => {
      damage(two);
      await refused(pull(source), "damaged", new RegExp(`^${two} has the sha256`));
      offer(names);
      server.bytesSent = 0;
      const { files, wasHere } = await pull(source);
      assert.deepEqual([files.map(({ path }) => path), wasHere], [names.map((name) => join(folder, name)), false]);
      assert.deepEqual(await contents(), parts);
      assert.ok(server.bytesSent < content.length * 2.5, `${server.bytesSent} bytes were sent for two parts of three`);
      assert.equal((await pull(source)).wasHere, true);
    });

    test("fetched anew, with one damaged part: the parts that were there stay, all of them", async () => {
      await pull(source);
      const before = parts;
      parts = parts.map((part) => Buffer.concat([part, Buffer.alloc(32)]));
      offer(names);
      damage(one);
      await assert.rejects(pull(source, { existing: "again" }), { failure: "damaged" });
      assert.deepEqual(await contents(), before);
      offer(names);
      await pull(source, { existing: "again" });
      assert.deepEqual(await contents(), parts);
    });

    test("one part that is damaged here is named before anything is fetched, and comes again when it is moved away", async () => {
      await pull(source);
      await writeFile(join(folder, one), "cut");
      server.requests.length = 0;
      await assert.rejects(pull(source), { failure: "bad_target", message: new RegExp(`${one} is there already.*move it away`) });
      await rm(join(folder, one));
      await pull(source);
      assert.deepEqual(asked(), ["main?recursive=true", one]);
      assert.deepEqual(await contents(), parts);
    });

    test("parts that the source does not have are named, and nothing is fetched", async () => {
      offer([two]);
      await refused(pull(source), "not_found", new RegExp(`1 of the 3 parts.*${one}, ${three}`, "i"));
      assert.deepEqual(asked(), ["main?recursive=true"]);
      await using elsewhere = await temporaryFolder();
      for (const name of [one, three]) await copyFile(await tinyModel("gpt2"), join(elsewhere.path, name));
      await refused(pull(join(elsewhere.path, one)), "not_found", new RegExp(`2 of the 3 parts.*${two}`, "i"));
    });

    test("the same model in another number of parts is another one", async () => {
      const others = [1, 2].map((number) => `m-Q4_0-0000${number}-of-00002.gguf`);
      const listing = [...names, ...others].map((path) => ({ type: "file", path, size: content.length }));
      server.files.set("/api/models/owner/model/tree/main?recursive=true", { content: Buffer.from(JSON.stringify(listing)) });
      for (const path of others) server.files.set(`/owner/model/resolve/main/${path}`, { content });
      await refused(pull(source), "not_found", /more than one GGUF file for Q4_0/);
      assert.equal((await pull(`hf://owner/model/${others[0] ?? ""}`)).files.length, 2);
    });

    test("the parts that lie in the models folder are here already", async () => {
      for (const [name, part] of splitModel("own", await tinyModelFile("gpt2"), 2)) await writeGguf(join(folder, name), part);
      const { files, wasHere } = await pull(join(folder, "own-00001-of-00002.gguf"), { localFile: "link", existing: "again" });
      assert.deepEqual([files.length, wasHere], [2, true]);
    });

    test("of an address only the part that it names", async () => {
      assert.equal((await pull(`${server.url}/owner/model/resolve/main/${two}`)).files.length, 1);
    });
  });

  test("a models folder that cannot be one is said to be so", async () => {
    server.files.set("/m.gguf", { content });
    const file = join(folder, "file");
    await writeFile(file, "");
    await refused(
      pull(`${server.url}/m.gguf`, { folder: file }),
      "folder_not_writable",
      /cannot be written to \(ENOTDIR\).*--models-dir/,
    );
  });

  test("a local file is copied or linked, and is checked like any other", async () => {
    const path = await tinyModel("llama");
    const copied = await pull(path);
    assert.ok((await readFile(copied.path)).equals(await readFile(path)));
    await pull(path, { localFile: "link", existing: "again", definition: { file: "linked.gguf" } });
    assert.ok((await readFile(join(folder, "linked.gguf"))).equals(await readFile(path)));
    await writeFile(join(folder, "..", "no-model.gguf"), "nonsense");
    await assert.rejects(pull(join(folder, "..", "no-model.gguf")), /letters GGUF|ends inside/);
    await assert.rejects(pull("./nowhere.gguf"), /There is no file/);
  });

  test("a local file that has been written anew is not taken for the copy of it, which is replaced if that is wanted", async () => {
    await using elsewhere = await temporaryFolder();
    const path = join(elsewhere.path, "mine.gguf");
    await writeFile(path, content);
    await pull(path);
    const other = Buffer.from(content);
    other.writeUInt8(other.readUInt8(other.length - 1) ^ 1, other.length - 1);
    await writeFile(path, other);
    const later = new Date(Date.now() + 60_000);
    await utimes(path, later, later);
    await assert.rejects(pull(path), { failure: "bad_target", message: /--force/ });
    await pull(path, { existing: "again" });
    assert.ok((await readFile(join(folder, "mine.gguf"))).equals(other));
    assert.equal((await pull(path)).wasHere, true);
  });

  test("the same file at another path is here already", async () => {
    await using elsewhere = await temporaryFolder();
    await writeFile(join(elsewhere.path, "mine.gguf"), content);
    await pull(await tinyModel("gpt2"), { definition: { file: "mine.gguf" } });
    assert.equal((await pull(join(elsewhere.path, "mine.gguf"))).wasHere, true);
  });

  for (const { what, place } of [
    { what: "is in the models folder", place: () => Promise.resolve(join(folder, "mine.gguf")) },
    {
      what: "is in the models folder under another path",
      place: async () => {
        await symlink(folder, join(folder, "same"));
        return join(folder, "same", "mine.gguf");
      },
    },
    {
      what: "is a link into the models folder",
      place: async () => {
        await mkdir(join(folder, "other"));
        await symlink(join(folder, "mine.gguf"), join(folder, "other", "mine.gguf"));
        return join(folder, "other", "mine.gguf");
      },
    },
    {
      what: "has a second name in the models folder",
      place: async () => {
        await mkdir(join(folder, "other"));
        await link(join(folder, "mine.gguf"), join(folder, "other", "mine.gguf"));
        return join(folder, "other", "mine.gguf");
      },
    },
  ]) {
    for (const localFile of ["copy", "link"] as const) {
      for (const existing of ["keep", "again"] as const) {
        test(`${localFile}, ${existing}: a file that ${what} is here already, and stays as it is`, async () => {
          await copyFile(await tinyModel("gpt2"), join(folder, "mine.gguf"));
          const { ino } = await stat(join(folder, "mine.gguf"));
          const { path, wasHere, files } = await pull(await place(), { localFile, existing });
          assert.deepEqual([path, wasHere, files[0]?.sha256], [join(folder, "mine.gguf"), true, sha256(content)]);
          assert.ok((await readFile(path)).equals(content));
          assert.equal((await stat(path)).ino, ino);
        });
      }
    }
  }

  test("a link in the models folder stays one when it is linked again, and a copy may take its place", async () => {
    const path = join(folder, "mine.gguf");
    await symlink(await tinyModel("gpt2"), path);
    for (const source of [path, await tinyModel("gpt2")]) {
      const definition = { file: "mine.gguf" };
      assert.equal((await pull(source, { localFile: "link", existing: "again", definition })).wasHere, true);
      assert.ok((await readFile(path)).equals(content));
    }
    assert.equal((await pull(path, { existing: "again" })).wasHere, false);
    await rename(path, join(folder, "copy.gguf"));
    assert.ok((await readFile(join(folder, "copy.gguf"))).equals(content));
    assert.ok((await readFile(await tinyModel("gpt2"))).equals(content));
  });

  test("a file that is in its place and is not what the catalogue says, or no model, is left there", async () => {
    const path = join(folder, "mine.gguf");
    await copyFile(await tinyModel("gpt2"), path);
    const other = { localFile: "link", existing: "again", definition: { sha256: "0".repeat(64) } } as const;
    await assert.rejects(pull(path, other), { failure: "damaged", message: /the catalogue says 0000.*left as it is/ });
    assert.ok((await readFile(path)).equals(content));
    await writeFile(path, "Dear diary");
    await assert.rejects(pull(path, { existing: "again" }), { failure: "damaged", message: /letters GGUF/ });
    assert.equal(await readFile(path, "utf8"), "Dear diary");
  });

  test("what a stopped pull has left cannot be pulled from there", async () => {
    await mkdir(join(folder, ".llamapod"));
    const path = join(folder, ".llamapod", "mine.gguf");
    await copyFile(await tinyModel("gpt2"), path);
    await refused(pull(path), "bad_target", /a stopped pull has left/);
    assert.ok((await readFile(path)).equals(content));
  });

  test("what cannot be pulled is told the forms there are", async () => {
    for (const target of ["nonsense", "a/b/c/d", "oci://", "ftp://x/y.gguf", "hf://a/b/../../c.gguf"]) {
      await refused(pull(target), "bad_target", /owner\/repository:Q4_K_M/);
    }
  });
});

async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "llamapod-elsewhere-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
