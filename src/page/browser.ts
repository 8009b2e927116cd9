import type { SocketEvents } from "./connection.ts";
import type { StreamSurroundings } from "./stream-client.ts";
import { subprotocol } from "./wire.ts";

/** The browser as the stream client needs it. */
export function browserSurroundings(): StreamSurroundings {
  return {
    connect,
    nowMs: () => performance.now(),
    after(delayMs, run) {
      const timer = setTimeout(run, delayMs);
      return () => clearTimeout(timer);
    },
    random: () => Math.random(),
    warn: (message) => console.warn(message),
    // Only secure contexts have it, localhost among them.
    ...("subtle" in crypto ? { digest: sha256 } : {}),
  };
}

/** 128 random bits in base64url. */
export function randomId(): string {
  return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

export async function copyText(text: string): Promise<void> {
  if ("clipboard" in navigator) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- the only way where the page is served over plain HTTP
  document.execCommand("copy");
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
}

function connect(events: SocketEvents) {
  const url = new URL("v1/stream", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = "";
  url.hash = "";
  const socket = new WebSocket(url, subprotocol);
  socket.addEventListener("message", ({ data }) => {
    if (typeof data === "string") events.received(data);
  });
  socket.addEventListener("close", ({ code, reason }) => events.closed(code, reason));
  return {
    // A frame for a socket that is closing is lost like one on the wire; the connection repeats what matters.
    send: (frame: string) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(frame);
    },
    close: () => socket.close(),
  };
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
