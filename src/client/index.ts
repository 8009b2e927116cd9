export { Answer, type AnswerEvent, type AnswerResult } from "./answer.ts";
export type { ConnectionState } from "./connection.ts";
export { ClientError } from "./errors.ts";
export {
  hasEnded,
  liveTokensPerSecond,
  newGeneration,
  type Done,
  type Failure,
  type Generation,
  type Phase,
} from "./generation.ts";
export { LlamapodClient, type AnswerRequest, type CallOptions, type ClientOptions } from "./llamapod-client.ts";
export { ModelSwitch, type SwitchProgress } from "./model-switch.ts";
export type { ToolCall } from "../protocol/tools.ts";
export { StreamClient, type StreamEvents, type StreamSurroundings } from "./stream-client.ts";
export { randomId, webSurroundings, type ServerAccess, type WebSocketConstructor, type WebSocketLike } from "./web.ts";
export type { GenerateRequest } from "./wire.ts";
