import { z } from "zod";
import { errorCodes } from "./errors.ts";
import { checkTools, toolCallDelta, toolFields } from "./tools.ts";
import { detach, finishReasons, lengthFields, messages, priority, responseFormat, samplingFields } from "./request.ts";

/**
 * `llamapod.v1`: the WebSocket protocol. UTF-8 JSON text frames, one flat object a frame, told apart by `type`.
 *
 * The server refuses unknown fields (a typo must not change sampling silently); clients ignore what they do not know.
 * `docs/protocol.md` describes the conversation; this module is its grammar, for both ends.
 */
export const subprotocol = "llamapod.v1";

/** Close codes of our own. 10xx (but 1002, 1003, 1007, 1008, 1009) may be retried as is, 44xx may not. */
export const closeCodes = {
  goingAway: 1001,
  unsupportedData: 1003,
  /** The client does not read, or not fast enough for what it asks. */
  tooSlow: 1013,
  tooManyBadMessages: 4400,
  idle: 4408,
  tooManyMessages: 4429,
} as const;

/** Chosen by the client; unique among its generations. */
export const generationId = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "must be 1 to 64 of A-Z, a-z, 0-9, _ and -");

const sequence = z.int().min(0);

/**
 * One place where answers are shown, such as a tab, whatever its connections do. When it reads a generation over a new connection
 * the old one, which may not know yet that it is dead, reads it no longer.
 */
const reader = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, "must be 1 to 64 of A-Z, a-z, 0-9, _ and -");

export const generateMessage = z
  .strictObject({
    type: z.literal("generate"),
    id: generationId,
    model: z.string().min(1).max(256).optional(),
    messages: messages.optional(),
    prompt: z.string().min(1).optional(),
    ...lengthFields,
    ...samplingFields,
    response_format: responseFormat.optional(),
    ...toolFields,
    priority: priority.optional(),
    detach: detach.optional(),
    reader: reader.optional(),
  })
  .refine((message) => (message.messages === undefined) !== (message.prompt === undefined), {
    error: "needs either messages or prompt",
    path: ["messages"],
  })
  .refine(({ tools, prompt }) => tools === undefined || prompt === undefined, { error: "needs messages", path: ["tools"] })
  .superRefine(({ tools, tool_choice: choice }, context) => {
    const names = tools?.map((tool) => tool.function.name);
    checkTools(names, typeof choice === "object" ? choice.function : choice, context);
  })
  .meta({ oneOf: [{ required: ["messages"] }, { required: ["prompt"] }] });

export const clientMessage = z.discriminatedUnion(
  "type",
  [
    generateMessage,
    z.strictObject({ type: z.literal("resume"), id: generationId, after: sequence, reader: reader.optional() }),
    z.strictObject({ type: z.literal("ack"), id: generationId, seq: sequence }),
    z.strictObject({ type: z.literal("cancel"), id: generationId }),
    z.strictObject({ type: z.literal("switch"), model: z.string().min(1).max(256) }),
    z.strictObject({ type: z.literal("ping"), t: z.number().optional() }),
  ],
  { error: "must be one of generate, resume, ack, cancel, switch, ping" },
);

const range = { first: sequence, seq: sequence };

export const modelState = z.enum([
  "available",
  "invalid",
  "starting",
  "loading",
  "warming",
  "ready",
  "draining",
  "stopped",
  "failed",
]);

export const modelSummary = z.object({
  id: z.string(),
  state: modelState,
  active: z.boolean(),
  size_bytes: z.number(),
  /** What else it is called in requests. */
  aliases: z.array(z.string()).optional(),
  /** A demo that comes with llamapod. */
  built_in: z.boolean().optional(),
});

export const usage = z.object({
  prompt_tokens: z.int(),
  cached_tokens: z.int(),
  completion_tokens: z.int(),
});

export const timings = z.object({
  queue_ms: z.number(),
  load_ms: z.number(),
  prefill_ms: z.number(),
  ttft_ms: z.number(),
  decode_tokens_per_second: z.number(),
  interruptions: z.int(),
});

export const serverMessage = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("hello"),
    protocol: z.literal(subprotocol),
    server: z.string(),
    active_model: z.string().nullable(),
    models: z.array(modelSummary),
    limits: z.record(z.string(), z.number()),
    heartbeat_s: z.number(),
  }),
  z.object({
    type: z.literal("queued"),
    id: generationId,
    position: z.int(),
    reason: z.enum(["slot", "loading", "memory"]),
  }),
  z.object({
    type: z.literal("started"),
    id: generationId,
    ...range,
    model: z.string(),
    prompt_tokens: z.int(),
    cached_tokens: z.int(),
  }),
  z.object({
    type: z.literal("delta"),
    id: generationId,
    ...range,
    /** Tokens in this frame. */
    n: z.int(),
    /** Milliseconds since `started`, at the last of them. */
    t: z.number(),
    /** Empty where only calls have come. */
    text: z.string(),
    tool_calls: z.array(toolCallDelta).optional(),
  }),
  z.object({
    type: z.literal("done"),
    id: generationId,
    ...range,
    finish_reason: z.enum(finishReasons),
    usage,
    timings,
    /** Of the whole text in UTF-8, without tool calls, hexadecimal: every client can check what it has put together. */
    text_sha256: z.string(),
  }),
  z.object({
    type: z.literal("error"),
    /** With the id of a generation, and a range, the error ends that generation. */
    id: z.string().optional(),
    first: sequence.optional(),
    seq: sequence.optional(),
    /** It is about the `switch` to the model that was called so there. */
    model: z.string().optional(),
    code: z.enum(errorCodes),
    message: z.string(),
    param: z.string().optional(),
    retryable: z.boolean(),
    retry_after_ms: z.number().optional(),
  }),
  z.object({
    type: z.literal("model"),
    id: z.string(),
    state: modelState,
    progress: z.number().min(0).max(1).optional(),
    active: z.boolean(),
    reason: z.string().optional(),
    /** Grows with every change of any model. */
    rev: z.int(),
  }),
  z.object({ type: z.literal("notice"), kind: z.literal("draining"), reconnect_after_ms: z.number() }),
  z.object({ type: z.literal("pong"), t: z.number().optional() }),
]);

export type ClientMessage = z.output<typeof clientMessage>;
export type ClientMessageInput = z.input<typeof clientMessage>;
export type GenerateMessage = z.output<typeof generateMessage>;
export type ServerMessage = z.output<typeof serverMessage>;
export type ServerMessageOf<Type extends ServerMessage["type"]> = Extract<ServerMessage, { type: Type }>;
export type ModelState = z.output<typeof modelState>;
export type ModelSummary = z.output<typeof modelSummary>;
export type Usage = z.output<typeof usage>;
export type Timings = z.output<typeof timings>;
