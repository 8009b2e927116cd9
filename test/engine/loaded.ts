import { metadataString, readGgufHeader, vocabularySize as tokenCount } from "../../src/models/gguf/header.ts";
import { chatFormat } from "../../src/models/runner/chat-formats.ts";
import { openBackend } from "../../src/models/runner/bindings.ts";
import { Engine } from "../../src/models/runner/engine.ts";
import { PromptBuilder } from "../../src/models/runner/prompt.ts";
import { StepLoop } from "../../src/models/runner/step-loop.ts";
import { concatenate } from "../../src/models/runner/tokenizer.ts";
import type { Prompt, Sampling } from "../../src/protocol/request.ts";
import type { EndedEvent, GenerateCommand, StepEvent } from "../../src/protocol/runner.ts";
import { tinyModel, type Family } from "../fixtures/tiny-models.ts";

export const greedy: Sampling = {
  temperature: 0,
  topP: 1,
  topK: 40,
  minP: 0,
  seed: 1,
  repeatPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
};

export interface Answer {
  readonly tokens: readonly number[];
  readonly text: string;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly slot: number;
  readonly ended: EndedEvent;
}

interface Pending {
  tokens: number[];
  text: string;
  started: StepEvent["started"][number] | undefined;
  readonly onOutput: (() => void) | undefined;
  readonly resolve: (answer: Answer) => void;
}

let answers = 0;

/** A runner's insides, in this process: everything but the messages between processes. */
export class Loaded {
  readonly engine: Engine;
  readonly prompts: PromptBuilder;
  readonly controlTokens: ReadonlySet<string>;
  readonly steps: StepEvent[] = [];
  readonly #loop: StepLoop;
  readonly #pending = new Map<string, Pending>();

  private constructor(engine: Engine, template: string | undefined, batchSize: number) {
    const { controlTokens } = engine;
    this.controlTokens = new Set(controlTokens.map(({ text }) => text));
    const format = chatFormat(template, this.controlTokens);
    this.engine = engine;
    this.prompts = new PromptBuilder(engine, format, controlTokens);
    this.#loop = new StepLoop(engine, this.prompts, format, batchSize, (event) => {
      if (event.type === "step") this.#take(event);
    });
    void this.#loop.run();
  }

  static family(family: Family, settings: { slots?: number; batchSize?: number; contextSize?: number } = {}): Promise<Loaded> {
    return tinyModel(family).then((path) => Loaded.file(path, settings));
  }

  static async file(path: string, { slots = 4, batchSize = 512, contextSize = 1024 } = {}): Promise<Loaded> {
    const header = await readGgufHeader(path);
    const template = metadataString(header, "tokenizer.chat_template");
    const vocabularySize = tokenCount(header);
    const backend = await openBackend({ type: "prepare", gpu: "off", threads: 1, logLevel: "error" }, () => undefined);
    const command = { type: "load" as const, path, contextSize, slots, batchSize, vocabularySize };
    const engine = await Engine.load(backend, command, 1, () => undefined);
    return new Loaded(engine, template, batchSize);
  }

  tokensOf(prompt: Prompt): Uint32Array {
    return concatenate([...this.prompts.build(prompt)]);
  }

  /** @param onOutput called at every output, before the next batch */
  answer(
    prompt: GenerateCommand["prompt"] | string,
    fields: Partial<GenerateCommand> = {},
    onOutput?: () => void,
  ): Promise<Answer> {
    const id = fields.id ?? `answer-${++answers}`;
    return new Promise((resolve) => {
      this.#pending.set(id, { tokens: [], text: "", started: undefined, onOutput, resolve });
      this.#loop.generate({
        type: "generate",
        requestId: id,
        cacheScope: "",
        prompt: typeof prompt === "string" ? { kind: "text", text: prompt } : prompt,
        sampling: greedy,
        maxTokens: 24,
        stop: [],
        ignoreEndOfTurn: true,
        generated: [],
        ...fields,
        id,
      });
    });
  }

  cancel(id: string): void {
    this.#loop.cancel(id);
  }

  [Symbol.dispose](): void {
    this.#loop.stop();
  }

  #take(step: StepEvent): void {
    this.steps.push(step);
    for (const started of step.started) {
      const pending = this.#pending.get(started.id);
      if (pending !== undefined) pending.started = started;
    }
    for (const { id, tokens, text } of step.outputs) {
      const pending = this.#pending.get(id);
      pending?.tokens.push(...tokens);
      if (pending !== undefined) pending.text += text;
      pending?.onOutput?.();
    }
    for (const ended of step.ended) {
      const pending = this.#pending.get(ended.id);
      this.#pending.delete(ended.id);
      const { promptTokens = 0, cachedTokens = 0, slot = -1 } = pending?.started ?? {};
      pending?.resolve({ tokens: pending.tokens, text: pending.text, promptTokens, cachedTokens, slot, ended });
    }
  }
}
