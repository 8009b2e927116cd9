import { createInterface, type Interface } from "node:readline/promises";
import { text as textOf } from "node:stream/consumers";
import { Command } from "commander";
import { answer, type Question } from "./answer.ts";
import { CommandError } from "./exit-codes.ts";
import { printJson } from "./output.ts";
import { serverAccess, type ServerAccess } from "./server-access.ts";
import { commonOptions, withJson, withServer } from "./settings.ts";

type Messages = { role: "system" | "user" | "assistant"; content: string }[];

const chatHelp = `/clear  begin a new conversation
/help   show this
/exit   leave, like Ctrl-D
Ctrl-C stops the answer; without one under way it leaves.
`;

export function runCommand(): Command {
  const command = new Command("run")
    .description("talk to a model of the running server")
    .argument("[model]", "its id or alias (default: the active one)")
    .argument("[prompt...]", "one question; without it a conversation begins")
    .option("--system <text>", "a system message before the conversation")
    .option("--max-tokens <count>", "length of an answer, at most")
    .option("--temperature <number>", "0 is the same answer every time")
    .addHelpText(
      "after",
      `
Answers come over the server's WebSocket, token by token, and go on after a broken connection. What is piped in
belongs to the question.

In a conversation:
  ${chatHelp.trim().replaceAll("\n", "\n  ")}

Examples:
  llamapod run
  llamapod run qwen2.5-0.5b "What is the capital of France?"
  git diff | llamapod run qwen2.5-7b "Write a commit message for this."`,
    );
  withJson(withServer(command));
  return command.action(async (model: string | undefined, prompt: string[], flags: Flags) => {
    const access = serverAccess(command);
    const settings = settingsOf(model, flags);
    const piped = process.stdin.isTTY ? "" : (await textOf(process.stdin)).trim();
    const question = [prompt.join(" "), piped].filter((part) => part !== "").join("\n\n");
    const system: Messages = flags.system === undefined ? [] : [{ role: "system", content: flags.system }];
    if (question !== "")
      await askOnce(access, settings, [...system, { role: "user", content: question }], commonOptions(command).json);
    else if (process.stdin.isTTY) await new Chat(access, settings, system).run();
    else throw new CommandError("usage", "There is no question: standard input is empty, and none was given.");
  });
}

interface Flags {
  readonly system?: string;
  readonly maxTokens?: string;
  readonly temperature?: string;
}

type Settings = Pick<Question, "model" | "max_tokens" | "temperature">;

function settingsOf(model: string | undefined, { maxTokens, temperature }: Flags): Settings {
  return {
    ...(model !== undefined && { model }),
    ...(maxTokens !== undefined && { max_tokens: numberOf("--max-tokens", maxTokens) }),
    ...(temperature !== undefined && { temperature: numberOf("--temperature", temperature) }),
  };
}

function numberOf(flag: string, given: string): number {
  const value = Number(given);
  if (given.trim() === "" || Number.isNaN(value)) throw new CommandError("usage", `${flag} must be a number, and is ${given}.`);
  return value;
}

async function askOnce(access: ServerAccess, settings: Settings, messages: Messages, json: boolean): Promise<void> {
  const stopping = new AbortController();
  process.on("SIGINT", () => {
    if (stopping.signal.aborted) process.exit(new CommandError("interrupted", "").exitCode);
    stopping.abort();
  });
  const show = (part: string) => {
    if (!json) process.stdout.write(part);
  };
  const { text, finishReason, usage, timings } = await answer(access, { ...settings, messages }, show, stopping.signal);
  if (json) printJson({ text, finish_reason: finishReason, usage, timings });
  else process.stdout.write("\n");
  if (stopping.signal.aborted) throw new CommandError("interrupted", "The answer was stopped.");
}

/** A conversation on the terminal. */
class Chat {
  readonly #access: ServerAccess;
  readonly #settings: Settings;
  readonly #system: Messages;
  readonly #terminal: Interface;
  readonly #leaving = new AbortController();
  #messages: Messages;
  #answering: AbortController | undefined;

  constructor(access: ServerAccess, settings: Settings, system: Messages) {
    this.#access = access;
    this.#settings = settings;
    this.#system = system;
    this.#messages = [...system];
    this.#terminal = createInterface({ input: process.stdin, output: process.stdout });
    this.#terminal.on("SIGINT", () => {
      if (this.#answering?.signal.aborted === false) this.#answering.abort();
      else this.#leaving.abort();
    });
    this.#terminal.on("close", () => this.#leaving.abort());
  }

  async run(): Promise<void> {
    process.stdout.write("A conversation begins. /help shows what there is beside talking.\n");
    for (;;) {
      const line = await this.#terminal.question("> ", { signal: this.#leaving.signal }).catch(() => undefined);
      if (line === undefined || line.trim() === "/exit") break;
      await this.#take(line.trim());
    }
    this.#terminal.close();
    process.stdout.write("\n");
  }

  async #take(line: string): Promise<void> {
    if (line === "") return;
    if (line === "/clear") this.#messages = [...this.#system];
    else if (line === "/help") process.stdout.write(chatHelp);
    else if (/^\/[a-z]+$/.test(line)) process.stdout.write(`There is no ${line}.\n${chatHelp}`);
    else await this.#ask(line);
  }

  async #ask(line: string): Promise<void> {
    const messages: Messages = [...this.#messages, { role: "user", content: line }];
    this.#answering = new AbortController();
    const leave = () => this.#answering?.abort();
    this.#leaving.signal.addEventListener("abort", leave);
    try {
      const { text } = await answer(
        this.#access,
        { ...this.#settings, messages },
        (part) => process.stdout.write(part),
        this.#answering.signal,
      );
      this.#messages = [...messages, { role: "assistant", content: text }];
    } catch (thrown) {
      if (!(thrown instanceof CommandError)) throw thrown;
      process.stderr.write(`llamapod: ${thrown.message}`);
    } finally {
      process.stdout.write("\n");
      this.#leaving.signal.removeEventListener("abort", leave);
      this.#answering = undefined;
    }
  }
}
