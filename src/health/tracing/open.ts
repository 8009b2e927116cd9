import { passiveTracing } from "./passive.ts";
import type { Tracing } from "./span.ts";

/**
 * With a collector to send to, OpenTelemetry; without one its code is not even loaded.
 *
 * @param complain told what keeps spans from being sent
 */
export async function openTracing(
  environment: NodeJS.ProcessEnv,
  version: string,
  complain: (message: string) => void,
): Promise<Tracing> {
  const isWanted = (environment["OTEL_EXPORTER_OTLP_ENDPOINT"] ?? "") !== "" && environment["OTEL_SDK_DISABLED"] !== "true";
  if (!isWanted) return passiveTracing;
  const { OpenTelemetry } = await import("./opentelemetry.ts");
  return new OpenTelemetry(version, complain);
}
