import { Template } from "@huggingface/jinja";
import { LlamapodError } from "../../protocol/errors.ts";
import { dialectOf, spellOut, type ToolDialect, type Turn } from "./tool-dialects.ts";

type Role = Turn["role"];

const canary = "llamapod-canary";

/**
 * A model's chat template. Templates are untrusted code without a bound on time or memory: render only where the process
 * may be killed.
 */
export class ChatTemplate {
  readonly #template: Template;
  readonly #specialTokens: { readonly bos_token: string; readonly eos_token: string };
  readonly #takesSystemRole: boolean;
  readonly #needsAlternation: boolean;
  readonly #takesTools: boolean;
  /** How the model is used to write calls. */
  readonly toolDialect: ToolDialect;

  /** @throws {LlamapodError} `template_error` when the template cannot be parsed or renders no conversation at all */
  constructor(source: string, specialTokens: { beginText: string; endText: string }) {
    this.#specialTokens = { bos_token: specialTokens.beginText, eos_token: specialTokens.endText };
    try {
      this.#template = new Template(source);
      this.#renderTurns([{ role: "user", content: canary }]);
    } catch (cause) {
      throw new LlamapodError("template_error", `The model's chat template does not work: ${messageOf(cause)}`, { cause });
    }
    this.#takesSystemRole = this.#distinguishesSystemRole();
    this.#needsAlternation = !this.#accepts([
      { role: "user", content: canary },
      { role: "user", content: "hello" },
    ]);
    this.#takesTools = this.#showsTools();
    this.toolDialect = dialectOf(this.#takesTools ? source : undefined);
  }

  /**
   * The conversation as the model's own text, ending where the answer begins.
   *
   * @throws {LlamapodError} `template_error` with the template's own complaint
   */
  render(conversation: readonly Turn[], tools?: readonly unknown[]): string {
    let turns = this.#takesTools ? conversation : spellOut(conversation, tools);
    if (!this.#takesSystemRole) turns = foldSystemTurns(turns);
    if (this.#needsAlternation) turns = mergeNeighbours(turns);
    try {
      return this.#renderTurns(turns, this.#takesTools ? tools : undefined);
    } catch (cause) {
      const reason = `The model's chat template does not take these messages: ${messageOf(cause)}`;
      throw new LlamapodError("template_error", reason, { param: "messages", cause });
    }
  }

  #renderTurns(turns: readonly Turn[], tools?: readonly unknown[]): string {
    const offered = tools === undefined ? {} : { tools };
    return this.#template.render({ messages: turns, ...offered, add_generation_prompt: true, ...this.#specialTokens });
  }

  /** Whether the template shows the model what it may call, what it has called, and what came of it. */
  #showsTools(): boolean {
    const [name, argument, result] = [`${canary}-tool`, `${canary}-argument`, `${canary}-result`];
    const offered = { type: "function", function: { name, description: name, parameters: { type: "object", properties: {} } } };
    const call = { id: "call00001", type: "function" as const, function: { name, arguments: { text: argument } } };
    const turns: Turn[] = [
      { role: "user", content: canary },
      { role: "assistant", content: "", tool_calls: [call] },
      { role: "tool", content: result, tool_call_id: call.id, name },
    ];
    try {
      const whole = this.#renderTurns(turns, [offered]);
      return this.#renderTurns(turns.slice(0, 1), [offered]).includes(name) && whole.includes(argument) && whole.includes(result);
    } catch {
      return false;
    }
  }

  /** GPT-SW3's template, for one, takes whoever is not the user for the bot. */
  #distinguishesSystemRole(): boolean {
    const withFirst = (role: Role): Turn[] => [
      { role, content: canary },
      { role: "user", content: "hello" },
    ];
    if (!this.#accepts(withFirst("system"))) return false;
    const refusesAssistantFirst = !this.#accepts(withFirst("assistant"));
    return refusesAssistantFirst || this.#renderTurns(withFirst("system")) !== this.#renderTurns(withFirst("assistant"));
  }

  /** Whether the template neither refuses these turns nor drops the canary that is in them. */
  #accepts(turns: readonly Turn[]): boolean {
    try {
      return this.#renderTurns(turns).includes(canary);
    } catch {
      return false;
    }
  }
}

/** Puts system messages in front of the user's next turn, for templates that know no system role. */
function foldSystemTurns(turns: readonly Turn[]): Turn[] {
  const folded: Turn[] = [];
  let instructions: string[] = [];
  for (const turn of turns) {
    if (turn.role === "system") {
      instructions.push(turn.content);
    } else if (turn.role === "user") {
      folded.push({ role: "user", content: [...instructions, turn.content].join("\n\n") });
      instructions = [];
    } else {
      folded.push(turn);
    }
  }
  if (instructions.length > 0) folded.push({ role: "user", content: instructions.join("\n\n") });
  return folded;
}

function mergeNeighbours(turns: readonly Turn[]): Turn[] {
  const merged: Turn[] = [];
  for (const turn of turns) {
    const last = merged.at(-1);
    const isPlain = turn.role !== "tool" && turn.tool_calls === undefined && last?.tool_calls === undefined;
    if (last?.role === turn.role && isPlain)
      merged[merged.length - 1] = { role: turn.role, content: `${last.content}\n\n${turn.content}` };
    else merged.push(turn);
  }
  return merged;
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
