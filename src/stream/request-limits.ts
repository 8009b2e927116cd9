import { LlamapodError } from "../protocol/errors.ts";
import type { JsonSchema } from "../protocol/json-schema.ts";
import type { Limits } from "../protocol/limits.ts";
import type { Detachment, GenerationRequest } from "./generations.ts";

/** What a single request may ask for, whichever door it comes through. @throws {LlamapodError} naming the limit and the field */
export function checkRequest(request: GenerationRequest, { graceMs }: Detachment, limits: Limits): void {
  const { prompt, maxTokens, stop } = request;
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
  checkSchemas(request, limits);
  if (graceMs !== undefined && graceMs > limits.maxGraceSeconds * 1_000) {
    const message = `detach.grace_s: ${graceMs / 1_000} is more than the ${limits.maxGraceSeconds} that this server allows.`;
    throw new LlamapodError("grace_too_long", message, { param: "detach.grace_s" });
  }
}

/** All of a request's schemas together: each of them is read, and becomes a part of a grammar. */
function checkSchemas({ format, prompt }: GenerationRequest, { maxSchemaBytes }: Limits): void {
  const tools = prompt.kind === "chat" ? (prompt.tools?.tools ?? []) : [];
  const schemas: { schema: JsonSchema | undefined; field: string }[] = tools.map(({ parameters, field }) => ({
    schema: parameters,
    field,
  }));
  if (format?.kind === "schema") schemas.push(format);
  let bytes = 0;
  for (const { schema, field } of schemas) {
    bytes += schema === undefined ? 0 : Buffer.byteLength(JSON.stringify(schema));
    if (bytes <= maxSchemaBytes) continue;
    const message = `${field}: with this one, the request's schemas have ${bytes} bytes, more than the ${maxSchemaBytes} that this server allows.`;
    throw new LlamapodError("schema_too_large", message, { param: field });
  }
}
