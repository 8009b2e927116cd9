import type { Prompt } from "../../protocol/request.ts";
import { LlamapodError } from "../../protocol/errors.ts";
import { ChatTemplate } from "./chat-template.ts";
import type { ChatFormat } from "./chat-formats.ts";
import type { ControlToken, Engine } from "./engine.ts";
import { anyOf, concatenate, Tokenizer } from "./tokenizer.ts";
import { dialectOf, toolObjects, turnsOf, type ToolDialect } from "./tool-dialects.ts";

/** Private-use characters that bracket the number of a text taken out of the user's words. */
const [open, close] = ["\uE000", "\uE001"];
const placeholder = new RegExp(`${open}(\\d+)${close}`, "g");

/**
 * Turns a request into tokens. What a user writes never becomes a control token: where a message, a tool, a call or its result
 * holds the text of one, that text is taken out before the template runs, and put back when the control tokens of the rest have
 * been found.
 */
export class PromptBuilder {
  readonly #engine: Engine;
  readonly #template: ChatTemplate | LlamapodError;
  readonly #tokenizer: Tokenizer;
  readonly #reserved: RegExp;

  constructor(engine: Engine, format: ChatFormat, controlTokens: readonly ControlToken[]) {
    this.#engine = engine;
    this.#tokenizer = new Tokenizer(engine, controlTokens);
    this.#reserved = anyOf([...controlTokens.map(({ text }) => text), open, close]);
    this.#template = parseTemplate(format.template, engine);
  }

  /** Why conversations cannot be rendered, where they cannot; plain prompts still work. */
  get templateError(): LlamapodError | undefined {
    return this.#template instanceof LlamapodError ? this.#template : undefined;
  }

  get toolDialect(): ToolDialect {
    return this.#template instanceof LlamapodError ? dialectOf(undefined) : this.#template.toolDialect;
  }

  /**
   * @returns the tokens in order, in parts that take a bounded time each
   * @throws {LlamapodError} `template_error`
   */
  *build(prompt: Prompt): Generator<Uint32Array> {
    let isFirst = true;
    for (const tokens of prompt.kind === "chat" ? this.#chatTokens(prompt) : this.#textTokens(prompt.text)) {
      yield isFirst ? this.#withBeginToken(tokens) : tokens;
      isFirst = false;
    }
  }

  #textTokens(text: string): Generator<Uint32Array> {
    return this.#tokenizer.read(text, (plain) => plain);
  }

  #chatTokens({ messages, tools }: Extract<Prompt, { kind: "chat" }>): Generator<Uint32Array> {
    if (this.#template instanceof LlamapodError) throw this.#template;
    const takenOut: string[] = [];
    const harmless = <Value>(value: Value): Value =>
      mapTexts(value, (text) =>
        text.replace(this.#reserved, (reserved) => {
          takenOut.push(reserved);
          return `${open}${takenOut.length - 1}${close}`;
        }),
      );
    const putBack = (plain: string) => plain.replace(placeholder, (_, number) => takenOut[Number(number)] ?? "");
    const offered = tools === undefined ? undefined : harmless(toolObjects(tools.tools));
    return this.#tokenizer.read(this.#template.render(harmless(turnsOf(messages)), offered), putBack);
  }

  /** Some templates write the begin token (GPT-SW3's as the second one), some leave it to the tokenizer: once is right. */
  #withBeginToken(tokens: Uint32Array): Uint32Array {
    const begin = this.#engine.beginToken;
    if (begin === undefined || !this.#engine.addsBeginToken || tokens.subarray(0, 2).includes(begin)) return tokens;
    return concatenate([Uint32Array.of(begin), tokens]);
  }
}

/** The same with every text in it changed, names of properties included. */
function mapTexts<Value>(value: Value, change: (text: string) => string): Value;
function mapTexts(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === "string") return change(value);
  if (Array.isArray(value)) return value.map((part: unknown) => mapTexts(part, change));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [change(name), mapTexts<unknown>(part, change)]));
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
