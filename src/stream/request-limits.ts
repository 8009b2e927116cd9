import { LlamapodError } from "../protocol/errors.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Detachment, GenerationRequest } from "./generations.ts";

/** What a single request may ask for, whichever door it comes through. @throws {LlamapodError} naming the limit and the field */
export function checkRequest({ prompt, maxTokens, stop }: GenerationRequest, { graceMs }: Detachment, limits: Limits): void {
  if (prompt.kind === "chat" && prompt.messages.length > limits.maxMessages) {
    const message = `messages: ${prompt.messages.length} are more than the ${limits.maxMessages} that this server allows.`;
    throw new LlamapodError("conversation_too_long", message, { param: "messages" });
  }
  if (maxTokens !== undefined && maxTokens > limits.maxTokens) {
    const message = `max_tokens: ${maxTokens} is more than the ${limits.maxTokens} that this server allows.`;
    throw new LlamapodError("max_tokens_exceeded", message, { param: "max_tokens" });
  }
  if (stop.length > limits.maxStopStrings) {
    const message = `stop: ${stop.length} strings are more than the ${limits.maxStopStrings} that this server allows.`;
    throw new LlamapodError("too_many_stop_strings", message, { param: "stop" });
  }
  if (graceMs !== undefined && graceMs > limits.maxGraceSeconds * 1_000) {
    const message = `detach.grace_s: ${graceMs / 1_000} is more than the ${limits.maxGraceSeconds} that this server allows.`;
    throw new LlamapodError("grace_too_long", message, { param: "detach.grace_s" });
  }
}
