import { LlamapodError } from "../../protocol/errors.ts";
import type { GenerateCommand } from "../../protocol/runner.ts";
import type { ChatFormat } from "./chat-formats.ts";
import type { Engine } from "./engine.ts";
import type { PromptBuilder } from "./prompt.ts";
import type { Sampler } from "./sampler.ts";
import type { Slot } from "./slots.ts";
import { TextStream } from "./text-stream.ts";
import { concatenate } from "./tokenizer.ts";

/** `prefill`: the slot is reading the prompt. `decode`: `next` has been sampled and waits to be computed. */
export type Phase = { readonly name: "prefill" } | { readonly name: "decode"; readonly next: number };

export type Ending = "stop" | "length";

/** One answer in the making: a prompt in a slot, the tokens sampled so far, and their text. */
export class Generation {
  readonly id: string;
  readonly requestId: string;
  readonly slot: Slot;
  readonly sampler: Sampler;
  /** What the slot must hold before the next token can be sampled. */
  readonly prompt: Uint32Array;
  phase: Phase = { name: "prefill" };
  readonly #engine: Engine;
  readonly #text: TextStream;
  readonly #goesOnAfterTurn: boolean;
  readonly #tokenLimit: number;
  #generatedTokens: number;

  constructor(command: GenerateCommand, prompt: Uint32Array, slot: Slot, sampler: Sampler, engine: Engine, format: ChatFormat) {
    const given = prompt.length - command.generated.length;
    const roomTokens = engine.info.contextSize - given;
    const isFree = !sampler.isConstrained;
    const stops = command.prompt.kind === "chat" && isFree ? [...command.stop, ...format.stops] : command.stop;
    this.id = command.id;
    this.requestId = command.requestId;
    this.slot = slot;
    this.prompt = prompt;
    this.sampler = sampler;
    this.#engine = engine;
    // A grammar allows the end where nothing else can follow.
    this.#goesOnAfterTurn = command.ignoreEndOfTurn && isFree;
    this.#tokenLimit = Math.min(command.maxTokens ?? roomTokens, roomTokens);
    this.#generatedTokens = command.generated.length;
    this.#text = new TextStream((tokens) => engine.detokenize(tokens), stops, prompt[given - 1]);
    // What was generated before has been shown already; the stream only has to know it.
    for (const token of command.generated) this.#text.push(token);
  }

  get remainingPrompt(): number {
    return this.prompt.length - this.slot.length;
  }

  /** Takes a sampled token. @returns the text that may now be shown, and the ending if this was the last token */
  accept(token: number): { text: string; counted: boolean; ending?: Ending } {
    const endsTurn = this.#engine.endsGeneration(token) || token === this.#engine.beginToken;
    if (endsTurn && !this.#goesOnAfterTurn) return { text: this.#text.flush(), counted: false, ending: "stop" };
    this.#generatedTokens++;
    this.phase = { name: "decode", next: token };
    const { text, stopped } = this.#text.push(token);
    if (stopped) return { text, counted: true, ending: "stop" };
    if (this.#generatedTokens >= this.#tokenLimit) return { text: text + this.#text.flush(), counted: true, ending: "length" };
    return { text, counted: true };
  }

  /** Ends without a last token. @returns the text that was held back */
  cut(): string {
    return this.#text.flush();
  }
}

/**
 * The prompt of a command as tokens, those generated before included. It stops between two steps of bounded work.
 *
 * @throws {LlamapodError} `context_length_exceeded`, `template_error`
 */
export function* promptTokens(
  command: GenerateCommand,
  prompts: PromptBuilder,
  contextSize: number,
): Generator<undefined, Uint32Array> {
  const parts: Uint32Array[] = [];
  let length = 0;
  for (const part of prompts.build(command.prompt)) {
    parts.push(part);
    length += part.length;
    if (length >= contextSize) {
      throw new LlamapodError(
        "context_length_exceeded",
        `The prompt has at least ${length} tokens and the model's context holds ${contextSize}, the answer included. Shorten the prompt, or start the server with a larger --context-size.`,
        { param: command.prompt.kind === "chat" ? "messages" : "prompt" },
      );
    }
    yield;
  }
  if (length === 0) throw new LlamapodError("invalid_message", "The prompt is empty.", { param: "prompt" });
  return concatenate([...parts, Uint32Array.from(command.generated)]);
}
