import { LlamapodError } from "../../../protocol/errors.ts";
import type { ChatMessage } from "../../../protocol/request.ts";

type Messages = readonly ChatMessage[];

/** Conversations that are remembered, and their characters in all, at most. The oldest go first. */
const most = { conversations: 1_000, characters: 32 * 1024 * 1024 };

/** What was said up to each response, so that a client can go on with `previous_response_id`. For as long as the server runs. */
export class Conversations {
  readonly #conversations = new Map<string, { readonly messages: Messages; readonly characters: number }>();
  #characters = 0;

  remember(owner: string, responseId: string, messages: Messages): void {
    const characters = messages.reduce((sum, message) => sum + JSON.stringify(message).length, 0);
    this.#conversations.set(`${owner}/${responseId}`, { messages, characters });
    this.#characters += characters;
    for (const [key, oldest] of this.#conversations) {
      if (this.#conversations.size <= most.conversations && this.#characters <= most.characters) break;
      this.#conversations.delete(key);
      this.#characters -= oldest.characters;
    }
  }

  /** @throws {LlamapodError} `previous_response_not_found` */
  before(owner: string, previousResponseId: string | undefined): Messages {
    if (previousResponseId === undefined) return [];
    const known = this.#conversations.get(`${owner}/${previousResponseId}`);
    if (known !== undefined) return known.messages;
    const message = `There is no response ${previousResponseId} to go on with, or it is no longer kept. Send the conversation as input.`;
    throw new LlamapodError("previous_response_not_found", message, { param: "previous_response_id" });
  }
}
