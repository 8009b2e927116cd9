import { EventEmitter, once } from "node:events";
import { WebSocket } from "ws";
import { LlamapodClient, type Answer } from "../../src/client/index.ts";
import type { PublishedName } from "../../test/fixtures/shapes/published.ts";
import type { Device } from "../servers/server.ts";
import { ShapeServer } from "./server.ts";

export interface SwitchRow {
  readonly to: string;
  /** From the request until the model answers; what ran is drained and parked in between. */
  readonly switchMs: number;
  /** From then until the stream of the first model goes on, which takes a load of its own. */
  readonly pauseMs: number;
  /** Tokens of the stream so far. */
  readonly streamedTokens: number;
}

export interface SwitchRun {
  readonly rows: readonly SwitchRow[];
  readonly receivedTokens: number;
  /** By the server's count. */
  readonly madeTokens: number;
  readonly interruptions: number;
}

const contextSize = 2_048;
/** Soon: what is measured is the switch, and not for how long an answer is let run on. */
const soon = ["--min-residency-seconds", "1", "--park-after-seconds", "1"];

/**
 * Makes one model after the other active, and the first one again, while one long answer of the first goes on in between: there
 * is room for one model, so each switch parks the answer, and each time it goes on from its tokens. The client holds the
 * numbers of the events and the digest of the text against what it got; the tokens are counted here.
 */
export async function switchThroughAll(folder: string, names: readonly PublishedName[], device: Device): Promise<SwitchRun> {
  await using server = await ShapeServer.start(folder, { contextSize, device }, soon);
  const [first = "", ...others] = names.map((name) => `${name}-shape`);
  await server.make("switch", first);
  using client = new LlamapodClient({ url: server.url, WebSocket });
  const answer = client.generate({ model: first, prompt: "Once upon a time", max_tokens: contextSize - 64, temperature: 0 });
  const reader = new Reader(answer);
  await reader.tokenAfter(performance.now());
  const rows: SwitchRow[] = [];
  for (const to of [...others, first]) {
    const askedAt = performance.now();
    await server.make("switch", to);
    const switchedAt = performance.now();
    await reader.tokenAfter(switchedAt);
    const row = { to, switchMs: switchedAt - askedAt, pauseMs: performance.now() - switchedAt, streamedTokens: reader.tokens };
    process.stderr.write(`${JSON.stringify(row)}\n`);
    rows.push(row);
  }
  answer.cancel();
  const { usage, timings } = await answer.result;
  await reader.ended;
  return { rows, receivedTokens: reader.tokens, madeTokens: usage.completion_tokens, interruptions: timings.interruptions };
}

/** Reads an answer as it comes, whatever else goes on. */
class Reader {
  readonly ended: Promise<void>;
  tokens = 0;
  readonly #news = new EventEmitter();

  constructor(answer: Answer) {
    this.ended = this.#read(answer);
    this.ended.catch(() => undefined);
  }

  /** Waits for a token that arrives later than `at`. */
  async tokenAfter(at: number): Promise<void> {
    for (;;) {
      const arrivedAt = await Promise.race([once(this.#news, "token").then(() => performance.now()), this.ended]);
      if (arrivedAt === undefined) throw new Error(`the answer ended after ${this.tokens} tokens, among the switches`);
      if (arrivedAt > at) return;
    }
  }

  async #read(answer: Answer): Promise<void> {
    for await (const event of answer) {
      if (event.type !== "delta") continue;
      this.tokens += event.tokens;
      this.#news.emit("token");
    }
  }
}
