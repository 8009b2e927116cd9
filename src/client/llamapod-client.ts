import type { ServerMessageOf } from "../protocol/stream.ts";
import { Answer } from "./answer.ts";
import type { ConnectionState } from "./connection.ts";
import { ClientError } from "./errors.ts";
import { failureOf, hasEnded, newGeneration, watchedGeneration, type Generation } from "./generation.ts";
import { ModelSwitch } from "./model-switch.ts";
import { StreamClient } from "./stream-client.ts";
import { randomId, webSurroundings, type WebSocketConstructor } from "./web.ts";
import type { GenerateRequest } from "./wire.ts";

export interface ClientOptions {
  /** Where the server is, such as `http://localhost:8080`. */
  readonly url: string | URL;
  readonly apiKey?: string | undefined;
  /** Needed where there is no global one: in Node.js before 22, the class of the package `ws`. */
  readonly WebSocket?: WebSocketConstructor | undefined;
  /** How long to try before what waits for a connection fails, in milliseconds. Without it the client tries for ever. */
  readonly patienceMs?: number | undefined;
  readonly onConnection?: ((state: ConnectionState) => void) | undefined;
  /** Told of every change of any model. */
  readonly onModel?: ((message: ServerMessageOf<"model">) => void) | undefined;
}

export interface CallOptions {
  /** Aborting cancels the answer, or stops watching it; its `result` then rejects with the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
}

export type AnswerRequest = Omit<GenerateRequest, "type" | "id"> & {
  /** Best left out: a random one is made. The same id and request find the same answer again. */
  readonly id?: string;
};

/**
 * A server's models, over one WebSocket that is made when it is first needed and made again whenever it breaks. Every token
 * arrives exactly once, and answers that run at the same time share the connection.
 */
export class LlamapodClient implements Disposable {
  readonly #options: ClientOptions;
  readonly #stream: StreamClient;
  /** Those under way, by their id: one for each who asked for it or watches it. */
  readonly #answers = new Map<string, Set<Answer>>();
  readonly #switches = new Set<ModelSwitch>();
  #greeting: ServerMessageOf<"hello"> | undefined;
  #greeted: { resolve: (hello: ServerMessageOf<"hello">) => void; reject: (reason: unknown) => void }[] = [];
  #patience: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    const WebSocket = options.WebSocket ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
    if (WebSocket === undefined) {
      throw new TypeError("There is no WebSocket here: pass one as an option, such as the class of the package ws.");
    }
    const access = { url: directory(options.url), apiKey: () => options.apiKey, WebSocket };
    this.#stream = new StreamClient(webSurroundings(access), {
      connection: (state) => {
        this.#connectionChanged(state);
      },
      hello: (message) => {
        this.#welcomed(message);
      },
      model: (message) => {
        for (const change of this.#switches) change.update(message);
        this.#forgetSettledSwitches();
        options.onModel?.(message);
      },
      generation: (generation) => {
        this.#generationChanged(generation);
      },
      error: (message) => {
        this.#refused(message);
      },
    });
  }

  /** Asks for an answer. */
  generate({ id = randomId(), ...request }: AnswerRequest, { signal }: CallOptions = {}): Answer {
    const cancel = () => {
      this.#stream.cancel(id);
    };
    return this.#follow(new Answer(newGeneration({ type: "generate", id, ...request }), cancel, cancel), cancel, signal);
  }

  /** Reads an answer that was begun on another connection, from its start. It is its asker's: leaving it only ends the reading. */
  watch(id: string, { signal }: CallOptions = {}): Answer {
    const cancel = () => {
      this.#stream.cancel(id);
    };
    // Its `result` may still be awaited.
    const leave = () => undefined;
    const forget = () => {
      if (!this.#answers.has(id)) this.#stream.forget(id);
    };
    return this.#follow(new Answer(watchedGeneration(id), cancel, leave), forget, signal);
  }

  /** Makes a model the one that answers when a request names none, and loads it. */
  switchTo(model: string): ModelSwitch {
    const change = new ModelSwitch(model);
    this.#switches.add(change);
    if (this.#greeting !== undefined) change.find(this.#greeting.models);
    // Without a connection it is asked for when there is one.
    this.#stream.switchTo(model);
    this.#connect();
    return change;
  }

  /** What the server said of itself when the connection was made: its models and limits. */
  hello(): Promise<ServerMessageOf<"hello">> {
    if (this.#greeting !== undefined) return Promise.resolve(this.#greeting);
    const greeting = new Promise<ServerMessageOf<"hello">>((resolve, reject) => this.#greeted.push({ resolve, reject }));
    this.#connect();
    return greeting;
  }

  /** Ends the connection. Answers under way fail here; on the server they go on for their time of grace. */
  close(): void {
    this.#stream.disconnect();
    this.#failAll(new ClientError({ code: "closed", message: "The client was closed.", retryable: false }));
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #connect(): void {
    this.#patience ??= this.#startPatience();
    this.#stream.connect();
  }

  /** @param aborted told when the signal has taken the answer away */
  #follow(answer: Answer, aborted: () => void, signal: AbortSignal | undefined): Answer {
    if (signal?.aborted === true) {
      answer.fail(signal.reason);
      return answer;
    }
    const abort = () => {
      this.#drop(answer);
      answer.fail(signal?.reason);
      aborted();
    };
    const release = () => {
      signal?.removeEventListener("abort", abort);
    };
    answer.result.then(release, release);
    signal?.addEventListener("abort", abort, { once: true });
    this.#take(answer);
    return answer;
  }

  /** One that is under way here already is read on together. */
  #take(answer: Answer): void {
    const { id, generation } = answer;
    const others = this.#answers.get(id);
    const [other] = others ?? [];
    if (others !== undefined && other !== undefined) {
      others.add(answer);
      answer.update(other.generation);
      return;
    }
    this.#answers.set(id, new Set([answer]));
    this.#patience ??= this.#startPatience();
    this.#stream.continue(generation);
  }

  #drop(answer: Answer): void {
    const answers = this.#answers.get(answer.id);
    answers?.delete(answer);
    if (answers?.size === 0) this.#answers.delete(answer.id);
  }

  #generationChanged(generation: Generation): void {
    const { id } = generation;
    for (const answer of this.#answers.get(id) ?? []) answer.update(generation);
    if (hasEnded(generation)) this.#answers.delete(id);
  }

  #welcomed(message: ServerMessageOf<"hello">): void {
    this.#greeting = message;
    for (const { resolve } of this.#greeted) resolve(message);
    this.#greeted = [];
    for (const change of this.#switches) {
      const model = change.find(message.models);
      if (model?.active === true && model.state === "ready") change.update(model);
      else this.#stream.switchTo(change.model);
    }
    this.#forgetSettledSwitches();
  }

  /** Of what belongs to no generation, only switches are waited for. Each that was asked for is refused by an error of its own. */
  #refused(error: ServerMessageOf<"error">): void {
    const change = [...this.#switches].find(({ model }) => model === error.model);
    change?.fail(new ClientError(failureOf(error)));
    this.#forgetSettledSwitches();
  }

  #forgetSettledSwitches(): void {
    for (const change of this.#switches) if (change.isOver) this.#switches.delete(change);
  }

  #connectionChanged(state: ConnectionState): void {
    if (state.kind === "open") {
      clearTimeout(this.#patience);
      this.#patience = undefined;
    } else {
      this.#greeting = undefined;
      if (state.kind === "waiting") this.#patience ??= this.#startPatience();
    }
    if (state.kind === "refused") {
      const message = state.reason === "" ? `The server closed the connection with code ${state.code}.` : state.reason;
      this.#failAll(new ClientError({ code: "refused", message, retryable: false }));
    }
    this.#options.onConnection?.(state);
  }

  #startPatience(): ReturnType<typeof setTimeout> | undefined {
    const { patienceMs, url } = this.#options;
    if (patienceMs === undefined || this.#greeting !== undefined) return undefined;
    return setTimeout(() => {
      const message = `There is no connection to ${String(url)}. Is the server running there?`;
      this.#stream.disconnect();
      this.#failAll(new ClientError({ code: "unreachable", message, retryable: true }));
    }, patienceMs);
  }

  #failAll(error: ClientError): void {
    clearTimeout(this.#patience);
    this.#patience = undefined;
    for (const { reject } of this.#greeted) reject(error);
    this.#greeted = [];
    for (const change of this.#switches) change.fail(error);
    this.#switches.clear();
    for (const [id, answers] of this.#answers) {
      this.#stream.forget(id);
      for (const answer of answers) answer.fail(error);
    }
    this.#answers.clear();
  }
}

/** A proxy may serve it below a path. */
function directory(url: string | URL): URL {
  const base = new URL(url);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  return base;
}
