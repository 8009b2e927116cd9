import type OpenAI from "openai";
import { ResponsesWS } from "openai/resources/responses/ws";
import { WebSocket } from "ws";
import { assertFrame } from "./contract.ts";

/** A WebSocket for the typed client, of which each message that comes is checked against the published protocol. */
export class CheckedSocket extends WebSocket {
  constructor(url: string, protocols: string[]) {
    super(url, protocols);
    this.on("message", (data: Buffer) => {
      assertFrame(JSON.parse(data.toString("utf8")));
    });
  }
}

/** OpenAI's own client of the Responses API over a WebSocket, of which the same holds. */
export function checkedResponses(client: OpenAI): ResponsesWS {
  const responses = new ResponsesWS(client);
  responses.socket.on("message", (data: Buffer) => {
    const event = JSON.parse(data.toString("utf8")) as { type: string };
    assertFrame(event, event.type === "error" ? "response.error" : "response.event");
  });
  return responses;
}
