/** Takes a server-sent event stream apart, in whatever pieces it arrives. */
export class SseParser {
  #rest = "";

  /** The `data` of every event that this piece completes. Comments and other fields are skipped. */
  push(piece: string): string[] {
    const events = (this.#rest + piece).replaceAll("\r\n", "\n").split("\n\n");
    this.#rest = events.pop() ?? "";
    return events.map(dataOf).filter((data) => data !== "");
  }
}

function dataOf(event: string): string {
  return event
    .split("\n")
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice("data:".length).trimStart())
    .join("\n");
}
