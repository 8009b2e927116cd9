import { webSurroundings, type StreamSurroundings } from "llamapod/client";

/** The server that this page comes from. */
export function browserSurroundings(apiKey: () => string | undefined): StreamSurroundings {
  return webSurroundings({ url: new URL(".", location.href), apiKey, WebSocket });
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
