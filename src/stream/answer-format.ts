import type { z } from "zod";
import type { AnswerFormat, responseFormat } from "../protocol/request.ts";

/** What the request asks the answer to be; undefined is any text. */
export function answerFormatOf(format: z.output<typeof responseFormat> | undefined): AnswerFormat | undefined {
  if (format === undefined || format.type === "text") return undefined;
  if (format.type === "json_object") return { kind: "object" };
  return { kind: "schema", schema: format.json_schema.schema, field: "response_format.json_schema.schema" };
}
