import { randomUUID } from "node:crypto";
import type { Caller } from "../../../protocol/access.ts";
import { requireScope } from "../../../protocol/access.ts";
import { LlamapodError } from "../../../protocol/errors.ts";
import type { AnswerFormat } from "../../../protocol/request.ts";
import type { ResponseRequest, TextFormat } from "../../../protocol/responses.ts";
import type { Generation, Origin } from "../../../stream/generation.ts";
import { framesOf } from "../../../stream/reader.ts";
import { samplingOf } from "../../../stream/sampling.ts";
import type { ServerContext } from "../../context.ts";
import { flatToolUseOf } from "../../../stream/tool-use.ts";
import { conversationOf } from "./messages.ts";
import { Conversations } from "./conversations.ts";
import { ResponseEvents } from "./events.ts";
import type { ResponseEvent } from "./items.ts";

/** A response under way. */
export interface Responding {
  readonly generation: Generation;
  readonly events: ResponseEvents;
  /** Its events to the last one. Whoever leaves early, or aborts, cancels it. */
  stream(signal: AbortSignal): AsyncGenerator<readonly ResponseEvent[], void, undefined>;
}

type RespondContext = Pick<ServerContext, "generations" | "pool">;

function answerFormatOf(format: TextFormat | undefined): AnswerFormat | undefined {
  if (format === undefined || format.type === "text") return undefined;
  return format.type === "json_object"
    ? { kind: "object" }
    : { kind: "schema", schema: format.schema, field: "text.format.schema" };
}

/** Makes generations of OpenAI's requests for responses, on every transport. */
export class Responder {
  readonly #context: RespondContext;
  readonly #conversations = new Conversations();

  constructor(context: RespondContext) {
    this.#context = context;
  }

  /** @throws {LlamapodError} */
  respond(caller: Caller, request: ResponseRequest, origin: Omit<Origin, "endpoint">): Responding {
    requireScope(caller, "chat");
    const { generations, pool } = this.#context;
    const owner = caller.id;
    const { instructions, input = [], previous_response_id, max_output_tokens, model } = request;
    // Instructions are of one request, and not part of what is remembered.
    const said = conversationOf(this.#conversations.before(owner, previous_response_id), input);
    if (said.length === 0) throw new LlamapodError("invalid_message", "input: is missing.", { param: "input" });
    const system = instructions === undefined ? [] : [{ role: "system" as const, content: instructions }];
    const id = `resp_${randomUUID().replaceAll("-", "")}`;
    const generation = generations.begin(
      owner,
      id,
      { endpoint: "responses", ...origin },
      {
        model,
        prompt: { kind: "chat", messages: [...system, ...said], tools: flatToolUseOf(request) },
        sampling: samplingOf(request),
        maxTokens: max_output_tokens,
        stop: [],
        ignoreEndOfTurn: false,
        format: answerFormatOf(request.text?.format),
        priority: 0,
      },
    );
    const connection = Symbol("response");
    generations.joined(owner, id, connection);
    const events = new ResponseEvents(generation, request, model ?? pool.activeModel ?? "");
    const conversations = this.#conversations;
    async function* stream(signal: AbortSignal): AsyncGenerator<readonly ResponseEvent[], void, undefined> {
      const reading = {
        signal,
        onReadersChanged: () => {
          generations.readersChanged(owner, id);
        },
      };
      try {
        for await (const frame of framesOf(generation, reading)) {
          const made = events.of(frame);
          if (frame.type === "done" && request.store !== false) {
            conversations.remember(owner, id, [...said, events.message]);
          }
          yield made;
        }
      } finally {
        generations.abandon(owner, id, connection);
      }
    }
    return { generation, events, stream };
  }
}
