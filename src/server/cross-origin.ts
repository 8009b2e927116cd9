import cors from "cors";
import type { RequestHandler } from "express";
import { requestIdHeader } from "./correlation.ts";
import type { GuardSettings } from "./guard.ts";

/** How long a browser need not ask again whether a page may send what it is about to send. */
const maxAgeSeconds = 600;

/**
 * Lets pages of the allowed origins read what they are answered. Keys are in a header, so that no cookies are needed, or let
 * through.
 */
export function crossOrigin({ allowedOrigins }: Pick<GuardSettings, "allowedOrigins">): RequestHandler {
  return cors({
    origin: [...allowedOrigins],
    methods: ["GET", "HEAD", "POST", "PATCH", "DELETE"],
    exposedHeaders: ["Retry-After", requestIdHeader],
    maxAge: maxAgeSeconds,
  });
}
