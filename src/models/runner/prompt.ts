import type { ChatMessage, Prompt } from "../../protocol/request.ts";
import { LlamapodError } from "../../protocol/errors.ts";
import { ChatTemplate } from "./chat-template.ts";
import type { ChatFormat } from "./chat-formats.ts";
import type { Engine } from "./engine.ts";

/** Private-use characters that bracket the number of a text taken out of the user's words. */
const [open, close] = ["\uE000", "\uE001"];

/**
 * Turns a request into tokens. What a user writes never becomes a control token: where a message holds the text of one,
 * that text is taken out before the template runs, and put back as plain characters when the rest has been tokenised.
 */
export class PromptBuilder {
  readonly #engine: Engine;
  readonly #template: ChatTemplate | LlamapodError;
  readonly #controlPattern: RegExp;

  constructor(engine: Engine, format: ChatFormat, controlTokens: ReadonlySet<string>) {
    this.#engine = engine;
    this.#controlPattern = anyOf([...controlTokens, open, close]);
    this.#template = parseTemplate(format.template, engine);
  }

  /** Why conversations cannot be rendered, where they cannot; plain prompts still work. */
  get templateError(): LlamapodError | undefined {
    return this.#template instanceof LlamapodError ? this.#template : undefined;
  }

  /** @throws {LlamapodError} `template_error` */
  build(prompt: Prompt): Uint32Array {
    const tokens = prompt.kind === "chat" ? this.#chatTokens(prompt.messages) : this.#engine.tokenize(prompt.text, true);
    return this.#withBeginToken(tokens);
  }

  #chatTokens(messages: readonly ChatMessage[]): Uint32Array {
    if (this.#template instanceof LlamapodError) throw this.#template;
    const takenOut: string[] = [];
    const harmless = messages.map(({ role, content }) => ({
      role,
      content: content.replace(this.#controlPattern, (text) => {
        takenOut.push(text);
        return `${open}${takenOut.length - 1}${close}`;
      }),
    }));
    const pieces = this.#template.render(harmless).split(new RegExp(`${open}(\\d+)${close}`));
    // Every second piece is the number of a text that was taken out.
    const tokens = pieces.map((piece, index) =>
      index % 2 === 0 ? this.#engine.tokenize(piece, true) : this.#engine.tokenize(takenOut[Number(piece)] ?? "", false),
    );
    return concatenate(tokens);
  }

  /** Some templates write the begin token (GPT-SW3's as the second one), some leave it to the tokenizer: once is right. */
  #withBeginToken(tokens: Uint32Array): Uint32Array {
    const begin = this.#engine.beginToken;
    if (begin === undefined || !this.#engine.addsBeginToken || tokens.subarray(0, 2).includes(begin)) return tokens;
    return concatenate([Uint32Array.of(begin), tokens]);
  }
}

function parseTemplate(source: string, engine: Engine): ChatTemplate | LlamapodError {
  const textOf = (token: number | undefined) => (token === undefined ? "" : engine.tokenText(token));
  try {
    return new ChatTemplate(source, { beginText: textOf(engine.beginToken), endText: textOf(engine.endToken) });
  } catch (thrown) {
    if (thrown instanceof LlamapodError) return thrown;
    throw thrown;
  }
}

/** The longest alternative wins, as in llama.cpp's tokenizer. */
function anyOf(texts: readonly string[]): RegExp {
  const alternatives = [...texts].filter((text) => text !== "").sort((a, b) => b.length - a.length);
  return new RegExp(alternatives.map(escapeForRegExp).join("|"), "g");
}

function escapeForRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

export function concatenate(parts: readonly Uint32Array[]): Uint32Array {
  const whole = new Uint32Array(parts.reduce((length, part) => length + part.length, 0));
  let position = 0;
  for (const part of parts) {
    whole.set(part, position);
    position += part.length;
  }
  return whole;
}
