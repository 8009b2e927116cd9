import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { frame, RawSocket, type FrameParts } from "../support/raw-socket.ts";
import { greedy, StreamClient } from "../support/stream-client.ts";
import { startService, type RunningService } from "../support/service.ts";

const [continuation, text, binary, close, ping, pong] = [0, 1, 2, 8, 9, 10] as const;
const message = '{"type":"ping","t":7}';

function closing(code: number, reason: Buffer | string = ""): FrameParts {
  return { opcode: close, payload: Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]) };
}

function times(count: number, parts: FrameParts): FrameParts[] {
  return Array.from({ length: count }, () => parts);
}

const halves = (payload: Buffer | string, at: number): FrameParts[] => {
  const data = Buffer.from(payload);
  return [
    { opcode: text, payload: data.subarray(0, at), isFinal: false },
    { opcode: continuation, payload: data.subarray(at) },
  ];
};

/** What is written, clause by clause of RFC 6455, and the close code that it gets. */
const wrong: readonly (readonly [string, readonly FrameParts[], number])[] = [
  ["5.1: a frame that is not masked", [{ opcode: text, payload: message, isMasked: false }], 1002],
  ["5.2: RSV1 without an extension", [{ opcode: text, payload: message, reserved: 4 }], 1002],
  ["5.2: RSV2", [{ opcode: text, payload: message, reserved: 2 }], 1002],
  ["5.2: RSV3", [{ opcode: text, payload: message, reserved: 1 }], 1002],
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map(
    (opcode) => [`5.2: the reserved opcode ${opcode}`, [{ opcode, payload: message }], 1002] as const,
  ),
  ["5.2: a length with the most significant bit", [{ opcode: text, claimedLength: 1n << 63n }], 1009],
  ["5.2: a length of 2^53", [{ opcode: text, claimedLength: 1n << 53n }], 1009],
  ["5.2: a length one beyond the limit, before the first byte of it", [{ opcode: text, claimedLength: 16_385n }], 1009],
  [
    "5.4: fragments that are longer than the limit together",
    times(5, { opcode: continuation, payload: "x".repeat(4_096), isFinal: false }).map((parts, index) =>
      index === 0 ? { ...parts, opcode: text } : parts,
    ),
    1009,
  ],
  ["5.4: a continuation of nothing", [{ opcode: continuation, payload: message }], 1002],
  [
    "5.4: a new message inside of a fragmented one",
    [
      { opcode: text, payload: "{", isFinal: false },
      { opcode: text, payload: message },
    ],
    1002,
  ],
  [
    "5.4: a flood of fragments",
    [{ opcode: text, payload: "{", isFinal: false }, ...times(100, { opcode: continuation, payload: " ", isFinal: false })],
    1008,
  ],
  [
    "5.4: a flood of empty fragments",
    [{ opcode: text, isFinal: false }, ...times(100, { opcode: continuation, isFinal: false })],
    1008,
  ],
  ["5.5: a fragmented ping", [{ opcode: ping, isFinal: false }], 1002],
  ["5.5: a ping of 126 bytes", [{ opcode: ping, payload: "x".repeat(126) }], 1002],
  ["5.5.1: a close frame of one byte", [{ opcode: close, payload: "x" }], 1002],
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535].map(
    (code) => [`7.4: the close code ${code}`, [closing(code)], 1002] as const,
  ),
  ["8.1: a close reason that is not UTF-8", [closing(1000, Buffer.from([0xff]))], 1007],
  ["8.1: text that is not UTF-8", [{ opcode: text, payload: Buffer.from([0xc3, 0x28]) }], 1007],
  ["8.1: an overlong sequence", [{ opcode: text, payload: Buffer.from([0xc0, 0xaf]) }], 1007],
  ["8.1: a surrogate", [{ opcode: text, payload: Buffer.from([0xed, 0xa0, 0x80]) }], 1007],
  ["8.1: a sequence that a fragment breaks off and the next does not complete", halves(Buffer.from([0xe2, 0x82, 0x28]), 2), 1007],
  ["of ours: a binary message", [{ opcode: binary, payload: message }], 1003],
];

describe("frames, byte by byte", { timeout: 120_000 }, () => {
  let service: RunningService;
  let canary: StreamClient;
  let undisturbed: string;
  const tokens = 1_200;

  before(async () => {
    service = await startService(["llama"], { maxMessageBytes: 16_384 });
    using client = await StreamClient.connect(service.url);
    undisturbed = (await client.generate(greedy("undisturbed", tokens))).done.text_sha256;
    canary = await StreamClient.connect(service.url);
    canary.send({ type: "generate", ...greedy("canary", tokens) });
    await canary.take("started", "canary");
  });
  after(async () => {
    canary[Symbol.dispose]();
    await service[Symbol.asyncDispose]();
  });

  async function isAnswered(raw: RawSocket): Promise<void> {
    for (;;) {
      const answer = await raw.frame();
      assert.ok(answer !== undefined && answer.opcode !== close, "the connection lives");
      if (answer.opcode === text && answer.payload.includes('"pong"')) return;
    }
  }

  for (const path of ["/v1/stream", "/v1/responses"]) {
    for (const [what, frames, code] of wrong) {
      test(`${path}, ${what}: ${code}`, async () => {
        using raw = await RawSocket.open(service.url, path);
        raw.write(...frames.map(frame));
        assert.equal(await raw.closeCode(), code);
      });
    }
  }

  test("a message that comes byte by byte without an end: 1008", async () => {
    using raw = await RawSocket.open(service.url);
    raw.write(frame({ opcode: text, claimedLength: 16_000n }));
    for (let sent = 0; sent < 15_000 && !raw.socket.readableEnded; sent++) {
      raw.write(Buffer.from(" "));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(await raw.closeCode(), 1008);
  });

  const right: readonly (readonly [string, readonly FrameParts[]])[] = [
    ["a whole message", [{ opcode: text, payload: message }]],
    ["a message in two fragments", halves(message, 9)],
    [
      "a ping between two fragments",
      [halves(message, 9)[0], { opcode: ping, payload: "?" }, halves(message, 9)[1]].filter((parts) => parts !== undefined),
    ],
    ["a character that two fragments share", halves('{"type":"ping","t":1}'.replace("ping", "p\\u0069ng"), 11)],
    [
      "an unasked pong",
      [
        { opcode: pong, payload: "!" },
        { opcode: text, payload: message },
      ],
    ],
    ["an empty fragment at the end", [{ opcode: text, payload: message, isFinal: false }, { opcode: continuation }]],
  ];
  for (const [what, frames] of right) {
    test(`${what} is understood`, async () => {
      using raw = await RawSocket.open(service.url);
      raw.write(...frames.map(frame));
      await isAnswered(raw);
    });
  }

  test("a message that comes byte by byte is understood", async () => {
    using raw = await RawSocket.open(service.url);
    for (const byte of frame({ opcode: text, payload: message })) {
      raw.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await isAnswered(raw);
  });

  test("a good close is answered with the same code", async () => {
    for (const code of [1000, 1001, 3000, 4999]) {
      using raw = await RawSocket.open(service.url);
      raw.write(frame(closing(code, "bye")));
      assert.equal(await raw.closeCode(), code);
    }
  });

  test("a ping is answered with its payload", async () => {
    using raw = await RawSocket.open(service.url);
    raw.write(frame({ opcode: ping, payload: "x".repeat(125) }));
    for (;;) {
      const answer = await raw.frame();
      assert.ok(answer !== undefined);
      if (answer.opcode !== pong) continue;
      assert.equal(answer.payload.toString(), "x".repeat(125));
      break;
    }
  });

  test("all the while another connection's answer was not disturbed", async () => {
    assert.equal((await canary.take("done", "canary")).text_sha256, undisturbed);
  });
});
