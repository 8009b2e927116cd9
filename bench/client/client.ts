import { assertGenerated, openStream, type StreamRequest, type StreamTrace } from "./stream.ts";

interface Generation extends Pick<StreamRequest, "label" | "onContent" | "signal"> {
  /** The answer has exactly so many, as long as it is not stopped by the signal. */
  readonly tokens: number;
}

export interface Completion extends Generation {
  readonly prompt: string;
}

export interface Chat extends Generation {
  readonly messages: readonly Message[];
}

export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** Says the same to both servers. */
export class Client {
  readonly #port: number;
  readonly #model: string;

  constructor(port: number, model: string) {
    this.#port = port;
    this.#model = model;
  }

  complete({ prompt, ...rest }: Completion): Promise<StreamTrace> {
    return this.#generate("/v1/completions", { prompt }, rest);
  }

  chat({ messages, ...rest }: Chat): Promise<StreamTrace> {
    return this.#generate("/v1/chat/completions", { messages }, rest);
  }

  async #generate(path: StreamRequest["path"], input: object, { tokens, ...rest }: Generation): Promise<StreamTrace> {
    const body = {
      model: this.#model,
      ...input,
      max_tokens: tokens,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
      // A model of random weights would end its answer at random.
      ignore_eos: true,
    };
    const trace = await openStream(this.#port, { ...rest, path, body });
    if (rest.signal?.aborted !== true) assertGenerated(trace, tokens);
    return trace;
  }
}
