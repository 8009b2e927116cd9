import type { Counter } from "prom-client";
import type { ErrorCode } from "../../protocol/errors.ts";
import { closeCodes as ownCloseCodes } from "../../protocol/stream.ts";
import * as buckets from "./buckets.ts";
import type { Instruments } from "./instruments.ts";

/** What is known of all connections at the moment of a scrape. */
export interface ConnectionMeasurement {
  readonly open: number;
  /** Bytes that wait in the sockets, of all of them and of the fullest. */
  readonly bufferedBytes: number;
  readonly mostBufferedBytes: number;
}

/** Close codes that this server sends or that a WebSocket ends with; everything else a client may make up. */
const closeCodes: ReadonlySet<number> = new Set([
  1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4400, 4401, 4403, 4408, 4409, 4426, 4429,
]);

const methods: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** What HTTP and WebSocket connections tell of themselves. */
export class ConnectionMetrics {
  readonly #make: Instruments;
  readonly #httpSeconds;
  readonly #rejected;
  readonly #closes;
  readonly #sentFrames;
  /** Bound to their labels once, because every token comes by. */
  readonly #framesOfType = new Map<string, Counter.Internal>();
  readonly #sentBytes;
  readonly #received;
  readonly #deltaTokens;
  readonly #authFailures;

  constructor(make: Instruments) {
    this.#make = make;
    this.#httpSeconds = make.tracedHistogram(
      "llamapod_http_request_duration_seconds",
      "From the head of an HTTP request to the end of its answer, streams included.",
      buckets.http,
      "route",
      "method",
      "code_class",
    );
    this.#rejected = make.counter(
      "llamapod_ws_handshakes_rejected_total",
      "WebSocket handshakes that were refused, by the error.",
      "reason",
    );
    this.#closes = make.counter("llamapod_ws_closes_total", "WebSocket connections that ended, by close code.", "code");
    this.#sentFrames = make.counter("llamapod_ws_frames_sent_total", "Messages sent over WebSockets.", "type");
    this.#sentBytes = make.counter("llamapod_ws_sent_bytes_total", "Bytes of the messages sent over WebSockets.");
    this.#received = make.counter("llamapod_ws_messages_received_total", "Messages received over WebSockets.", "type");
    this.#deltaTokens = make.histogram("llamapod_ws_delta_tokens", "Tokens in a delta of a stream.", buckets.tokensOfFrame);
    this.#authFailures = make.counter(
      "llamapod_auth_failures_total",
      "Requests without a key that is good for them, by the error.",
      "reason",
    );
    for (const reason of ["invalid_api_key", "insufficient_scope"]) this.#authFailures.inc({ reason }, 0);
    for (const code of Object.values(ownCloseCodes)) this.#closes.inc({ code: String(code) }, 0);
  }

  /** @param route the pattern, never the path */
  answered(
    { route, method, status }: { readonly route: string; readonly method: string; readonly status: number },
    seconds: number,
    exemplar: { readonly traceId: string | undefined; readonly requestId: string | undefined },
  ): void {
    const labels = { route, method: methods.has(method) ? method : "_other", code_class: `${Math.floor(status / 100)}xx` };
    this.#httpSeconds.observe(labels, seconds, exemplar);
  }

  handshakeRejected(code: ErrorCode): void {
    this.#rejected.inc({ reason: code });
  }

  closed(code: number): void {
    this.#closes.inc({ code: closeCodes.has(code) ? String(code) : "_other" });
  }

  /** @param type of the server's own messages */
  sent(type: string, bytes: number): void {
    let frames = this.#framesOfType.get(type);
    if (frames === undefined) this.#framesOfType.set(type, (frames = this.#sentFrames.labels({ type })));
    frames.inc();
    this.#sentBytes.inc(bytes);
  }

  delta(tokens: number): void {
    this.#deltaTokens.observe(tokens);
  }

  /** @param type of a message that was understood; undefined for any other */
  received(type: string | undefined): void {
    this.#received.inc({ type: type ?? "_other" });
  }

  /** Every error that a client is told. */
  refused(code: ErrorCode): void {
    if (code === "invalid_api_key" || code === "insufficient_scope") this.#authFailures.inc({ reason: code });
  }

  observe(measure: () => ConnectionMeasurement): void {
    const gauge = (name: string, help: string, pick: (now: ConnectionMeasurement) => number) => {
      this.#make.measured(name, help, [], (target) => {
        target.set(pick(measure()));
      });
    };
    gauge("llamapod_ws_connections", "Open WebSocket connections.", ({ open }) => open);
    gauge("llamapod_ws_buffered_bytes", "Bytes that wait in all WebSockets to be sent.", (now) => now.bufferedBytes);
    gauge("llamapod_ws_buffered_bytes_max", "Bytes that wait in the fullest WebSocket.", (now) => now.mostBufferedBytes);
  }
}
