import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { assertFrame } from "./contract.ts";

const streamPath = "/v1/stream";
const text = 1;

/**
 * A connection that has been upgraded and on which anything can be written, as no WebSocket library would. What comes as
 * `llamapod.v1` is checked against the published grammar.
 */
export class RawSocket implements Disposable {
  readonly socket: Socket;
  readonly #path: string;
  #received: Buffer = Buffer.alloc(0);
  #ended = false;

  private constructor(socket: Socket, path: string) {
    this.socket = socket;
    this.#path = path;
    socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
    });
    socket.on("error", () => undefined);
    socket.on("close", () => (this.#ended = true));
  }

  static async open(url: string, path = streamPath): Promise<RawSocket> {
    const raw = new RawSocket(connect(Number(new URL(url).port), "127.0.0.1"), path);
    raw.socket.setNoDelay(true);
    raw.socket.write(
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${"A".repeat(22)}==\r\nSec-WebSocket-Protocol: llamapod.v1\r\n\r\n`,
    );
    while (!raw.#received.includes("\r\n\r\n")) await once(raw.socket, "data");
    raw.#received = raw.#received.subarray(raw.#received.indexOf("\r\n\r\n") + 4);
    return raw;
  }

  write(...frames: readonly Buffer[]): void {
    if (!this.#ended) this.socket.write(Buffer.concat(frames));
  }

  /** The next frame from the server, or nothing when it has closed the connection. */
  async frame(): Promise<{ readonly opcode: number; readonly payload: Buffer } | undefined> {
    for (;;) {
      const taken = takeFrame(this.#received);
      if (taken !== undefined) {
        this.#received = taken.rest;
        if (taken.opcode === text && this.#path === streamPath) assertFrame(JSON.parse(taken.payload.toString()));
        return taken;
      }
      if (this.#ended) return undefined;
      await Promise.race([once(this.socket, "data"), once(this.socket, "close")]);
    }
  }

  /** The code of the close frame that the server sends; undefined if the connection ends without one. */
  async closeCode(): Promise<number | undefined> {
    for (;;) {
      const frame = await this.frame();
      if (frame === undefined) return undefined;
      if (frame.opcode === 8) return frame.payload.readUInt16BE(0);
    }
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}

export interface FrameParts {
  readonly opcode: number;
  readonly payload?: Buffer | string;
  readonly isFinal?: boolean;
  /** RSV1 to RSV3 as the three bits of a number. */
  readonly reserved?: number;
  readonly isMasked?: boolean;
  /** What the header says, where that is not how long the payload is. */
  readonly claimedLength?: bigint;
}

/** A frame of a client (RFC 6455, 5.2), right or wrong in any part. */
export function frame({
  opcode,
  payload = "",
  isFinal = true,
  reserved = 0,
  isMasked = true,
  claimedLength,
}: FrameParts): Buffer {
  const data = Buffer.from(payload);
  const length = claimedLength ?? BigInt(data.length);
  const first = (isFinal ? 0x80 : 0) | (reserved << 4) | opcode;
  const maskBit = isMasked ? 0x80 : 0;
  const head =
    length < 126n
      ? Buffer.from([first, maskBit | Number(length)])
      : length < 65_536n
        ? Buffer.from([first, maskBit | 126, Number(length >> 8n), Number(length & 0xffn)])
        : Buffer.concat([Buffer.from([first, maskBit | 127]), bigEndian(length)]);
  if (!isMasked) return Buffer.concat([head, data]);
  const mask = Buffer.from([0x12, 0x34, 0x56, 0x78]);
  return Buffer.concat([head, mask, data.map((byte, index) => byte ^ (mask[index % 4] ?? 0))]);
}

function bigEndian(value: bigint): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64BE(value);
  return buffer;
}

function takeFrame(buffer: Buffer) {
  const second = buffer[1];
  if (second === undefined) return undefined;
  const short = second & 0x7f;
  const headBytes = short < 126 ? 2 : short === 126 ? 4 : 10;
  if (buffer.length < headBytes) return undefined;
  const length = short < 126 ? short : short === 126 ? buffer.readUInt16BE(2) : Number(buffer.readBigUInt64BE(2));
  if (buffer.length < headBytes + length) return undefined;
  const opcode = (buffer[0] ?? 0) & 0x0f;
  return { opcode, payload: buffer.subarray(headBytes, headBytes + length), rest: buffer.subarray(headBytes + length) };
}
