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
