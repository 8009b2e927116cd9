import type { SocketEvents } from "../../src/client/connection.ts";
import type { Generation } from "../../src/client/generation.ts";
import { StreamClient, type StreamSurroundings } from "../../src/client/stream-client.ts";
import type { GenerateRequest } from "../../src/client/wire.ts";
import type { ClientMessage, ServerMessage } from "../../src/protocol/stream.ts";

/** The server's end of one connection that the client opened. */
export class FakeSocket {
  readonly sent: ClientMessage[] = [];
  readonly #events: SocketEvents;
  isClosed = false;

  constructor(events: SocketEvents) {
    this.#events = events;
  }

  say(message: ServerMessage): void {
    this.#events.received(JSON.stringify(message));
  }

  sayRaw(frame: string): void {
    this.#events.received(frame);
  }

  cut(code = 1006, reason = ""): void {
    this.isClosed = true;
    this.#events.closed(code, reason);
  }

  hello(limits: Record<string, number> = {}): void {
    this.say({
      type: "hello",
      protocol: "llamapod.v1",
      server: "test",
      active_model: "m",
      models: [{ id: "m", state: "ready", active: true, size_bytes: 1 }],
      limits,
      heartbeat_s: 20,
    });
  }

  sentOf<Type extends ClientMessage["type"]>(type: Type): Extract<ClientMessage, { type: Type }>[] {
    return this.sent.filter((message): message is Extract<ClientMessage, { type: Type }> => message.type === type);
  }
}

/** A client in a world whose network and time the test moves. */
export class World {
  readonly sockets: FakeSocket[] = [];
  readonly history: Generation[] = [];
  readonly states: string[] = [];
  readonly warnings: string[] = [];
  readonly client: StreamClient;
  #nowMs = 0;
  #timers: { readonly atMs: number; readonly run: () => void }[] = [];

  /** @param given what is not as usual in it: no digest, no reader, and the longest of the times that are drawn */
  constructor(given: Partial<StreamSurroundings> = {}) {
    const surroundings: StreamSurroundings = {
      connect: (events) => {
        const socket = new FakeSocket(events);
        this.sockets.push(socket);
        return {
          send: (frame) => {
            if (!socket.isClosed) socket.sent.push(JSON.parse(frame) as ClientMessage);
          },
          close: () => {
            socket.isClosed = true;
          },
        };
      },
      nowMs: () => this.#nowMs,
      after: (delayMs, run) => {
        const timer = { atMs: this.#nowMs + delayMs, run };
        this.#timers.push(timer);
        return () => {
          this.#timers = this.#timers.filter((other) => other !== timer);
        };
      },
      random: () => 1,
      warn: (message) => this.warnings.push(message),
      ...given,
    };
    const nothing = () => undefined;
    this.client = new StreamClient(surroundings, {
      connection: ({ kind }) => this.states.push(kind),
      generation: (generation) => this.history.push(generation),
      hello: nothing,
      model: nothing,
      error: nothing,
    });
  }

  get socket(): FakeSocket {
    const latest = this.sockets.at(-1);
    if (latest === undefined) throw new Error("the client has not connected");
    return latest;
  }

  get generation(): Generation {
    const latest = this.history.at(-1);
    if (latest === undefined) throw new Error("no generation has changed");
    return latest;
  }

  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const [next] = this.#timers.filter(({ atMs }) => atMs <= untilMs).toSorted((a, b) => a.atMs - b.atMs);
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#nowMs = next.atMs;
      next.run();
    }
    this.#nowMs = untilMs;
  }

  /** Cuts the connection and lets the client make another. */
  reconnect(): void {
    this.socket.cut();
    this.advance(20_000);
    this.socket.hello();
  }
}

export function connectedWorld(given: Partial<StreamSurroundings> = {}): World {
  const world = new World(given);
  world.client.connect();
  world.socket.hello();
  return world;
}

export const request: GenerateRequest = { type: "generate", id: "g", messages: [{ role: "user", content: "hi" }] };

export function started(seq = 1): ServerMessage {
  return { type: "started", id: "g", first: seq, seq, model: "m", prompt_tokens: 3, cached_tokens: 0 };
}

/** One frame with the tokens of `texts`, the first of which is event `first`. */
export function delta(first: number, ...texts: string[]): ServerMessage {
  const seq = first + texts.length - 1;
  return { type: "delta", id: "g", first, seq, n: texts.length, t: seq * 10, text: texts.join("") };
}

export function done(seq: number, textSha256 = "", finishReason: "stop" | "length" | "cancelled" = "stop"): ServerMessage {
  return {
    type: "done",
    id: "g",
    first: seq,
    seq,
    finish_reason: finishReason,
    usage: { prompt_tokens: 3, cached_tokens: 0, completion_tokens: seq - 2 },
    timings: { queue_ms: 0, load_ms: 0, prefill_ms: 1, ttft_ms: 2, decode_tokens_per_second: 100, interruptions: 0 },
    text_sha256: textSha256,
  };
}
