import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Router, static as serveStatic } from "express";

const folder = fileURLToPath(new URL("../page/", import.meta.url));
const clientFolder = fileURLToPath(new URL("../client/", import.meta.url));

/** The chat page. It runs its own scripts only, and talks to this server only. */
export function pageRoutes(): Router {
  const policy = contentSecurityPolicy(readFileSync(`${folder}index.html`, "utf8"));
  const router = Router();
  router.use((_request, response, next) => {
    response.set({
      "Content-Security-Policy": policy,
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Resource-Policy": "same-origin",
      "Referrer-Policy": "no-referrer",
      "X-Content-Type-Options": "nosniff",
    });
    next();
  });
  router.use(serveStatic(folder, { maxAge: 0, redirect: false }));
  router.use("/client", serveStatic(clientFolder, { maxAge: 0, redirect: false }));
  return router;
}

/** The import map is the only script that stands in the page itself: its hash lets it through. */
function contentSecurityPolicy(html: string): string {
  const importMap = /<script type="importmap">([\s\S]*?)<\/script>/.exec(html)?.[1];
  const hash = importMap === undefined ? "" : ` 'sha256-${createHash("sha256").update(importMap).digest("base64")}'`;
  return [
    "default-src 'none'",
    `script-src 'self'${hash}`,
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}
