import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { WebSocket, type ClientOptions } from "ws";
import {
  serverMessage,
  subprotocol,
  type ClientMessageInput,
  type ServerMessage,
  type ServerMessageOf,
} from "../../src/protocol/stream.ts";

import { assertFrame } from "./contract.ts";

type GenerateInput = Extract<ClientMessageInput, { type: "generate" }>;

/** A connection that speaks `llamapod.v1`. Every message that comes is checked against the protocol's grammar, and the published one. */
export class StreamClient implements Disposable {
  readonly socket: WebSocket;
  readonly received: ServerMessage[] = [];
  /** The close code. */
  readonly closed: Promise<number>;
  #closeCode: number | undefined;
  #broken: unknown;
  #taken = 0;
  #wake: () => void = () => undefined;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => {
      socket.on("close", (code) => {
        this.#closeCode = code;
        this.#wake();
        resolve(code);
      });
    });
    socket.on("error", () => undefined);
    socket.on("message", (data: Buffer) => {
      try {
        const message: unknown = JSON.parse(data.toString("utf8"));
        assertFrame(message);
        this.received.push(serverMessage.parse(message));
      } catch (thrown) {
        this.#broken = thrown;
      }
      this.#wake();
    });
  }

  static async connect(url: string, options: ClientOptions = {}): Promise<StreamClient> {
    const client = new StreamClient(new WebSocket(streamUrl(url), subprotocol, options));
    await once(client.socket, "open");
    return client;
  }

  send(message: ClientMessageInput): void {
    this.socket.send(JSON.stringify(message));
  }

  /** The next message that fits, of those not taken yet; others before it are passed over. */
  async take<Type extends ServerMessage["type"]>(type: Type, id?: string): Promise<ServerMessageOf<Type>> {
    const message = await this.takeWhere((candidate) => {
      return candidate.type === type && (id === undefined || ("id" in candidate && candidate.id === id));
    });
    return message as ServerMessageOf<Type>;
  }

  async takeWhere(matches: (message: ServerMessage) => boolean): Promise<ServerMessage> {
    for (;;) {
      if (this.#broken !== undefined) throw new Error("a message breaks the protocol", { cause: this.#broken });
      const message = this.received[this.#taken];
      if (message !== undefined) {
        this.#taken++;
        if (matches(message)) return message;
      } else {
        if (this.#closeCode !== undefined) throw new Error(`the connection was closed with ${this.#closeCode}`);
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  /** Reads a generation on to its end. */
  async readTo(answer: Answer): Promise<ServerMessageOf<"done">> {
    for (;;) {
      const message = await this.takeWhere((candidate) => isFrame(candidate) && candidate.id === answer.id);
      answer.apply(message);
      if (message.type === "done") return message;
      assert.notEqual(message.type, "error", JSON.stringify(message));
    }
  }

  /** Asks, and reads the whole answer. */
  async generate(request: Omit<GenerateInput, "type">): Promise<Answer & { done: ServerMessageOf<"done"> }> {
    const answer = new Answer(request.id);
    this.send({ type: "generate", ...request });
    const done = await this.readTo(answer);
    return Object.assign(answer, { done });
  }

  /** Cuts the connection without a word. */
  [Symbol.dispose](): void {
    this.socket.terminate();
  }
}

/** What a client has of an answer. It takes only what follows without a gap. */
export class Answer {
  readonly id: string;
  text = "";
  tokens = 0;
  lastSeq = 0;
  /** What the text was after each frame, so that a client can fall back to it. */
  readonly snapshots: { readonly seq: number; readonly text: string; readonly tokens: number }[] = [];

  constructor(id: string) {
    this.id = id;
  }

  apply(message: ServerMessage): void {
    assert.ok("first" in message && message.first !== undefined && message.seq !== undefined, JSON.stringify(message));
    assert.equal(message.first, this.lastSeq + 1, "each range begins where the one before ended");
    assert.ok(message.seq >= message.first);
    this.lastSeq = message.seq;
    if (message.type === "delta") {
      this.text += message.text;
      this.tokens += message.n;
    }
    if (message.type === "done") assert.equal(message.text_sha256, sha256(this.text));
    this.snapshots.push({ seq: this.lastSeq, text: this.text, tokens: this.tokens });
  }
}

export function isFrame(message: ServerMessage): message is ServerMessageOf<"started" | "delta" | "done" | "error"> {
  return "first" in message;
}

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

export function streamUrl(url: string): string {
  return `${url.replace(/^http/, "ws")}/v1/stream`;
}

/** A greedy request: the same text every time. */
export function greedy(id: string, maxTokens: number, content = "Tell me a story.") {
  return { id, messages: [{ role: "user" as const, content }], temperature: 0, max_tokens: maxTokens };
}
